"""The SAM template: what AWS makes of it, and that it keeps its promises."""

import json
import pathlib

import pytest

from keras_refocus.cloud import events

FOLDER = pathlib.Path(__file__).parents[2] / "serving" / "aws"


@pytest.fixture(scope="module")
def source():
    from cfnlint.decode import cfn_yaml

    return cfn_yaml.load(str(FOLDER / "template.yaml"))


@pytest.fixture(scope="module")
def translated(source):
    """The template of CloudFormation that SAM makes of it."""
    import boto3
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template = json.loads(json.dumps(source))
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            # `sam package` puts it there.
            resource["Properties"]["ImageUri"] = "123456789012.dkr.ecr.us-east-1.amazonaws.com/a:1"
    session = boto3.Session(region_name="us-east-1")
    return Translator({}, Parser(), boto_session=session).translate(template, {})


def of_type(template, kind):
    return {
        name: resource
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


@pytest.mark.slow
def test_cfn_lint_finds_nothing():
    from cfnlint.api import lint_file

    assert [str(match) for match in lint_file(FOLDER / "template.yaml")] == []


def test_buckets_are_private_encrypted_and_forget(translated):
    buckets = of_type(translated, "AWS::S3::Bucket")
    assert len(buckets) == 4
    for bucket in buckets.values():
        properties = bucket["Properties"]
        assert all(properties["PublicAccessBlockConfiguration"].values())
        assert len(properties["PublicAccessBlockConfiguration"]) == 4
        assert properties["BucketEncryption"]
        (rule,) = properties["LifecycleConfiguration"]["Rules"]
        assert rule["Status"] == "Enabled" and rule["ExpirationInDays"] == {"Ref": "KeepDays"}
    policies = of_type(translated, "AWS::S3::BucketPolicy")
    assert {p["Properties"]["Bucket"]["Ref"] for p in policies.values()} == set(buckets)
    for policy in policies.values():
        (statement,) = policy["Properties"]["PolicyDocument"]["Statement"]
        assert statement["Effect"] == "Deny" and statement["Principal"] == "*"
        assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        assert len(statement["Resource"]) == 2


def test_queues_have_a_dead_letter_queue_and_failures_are_partial(translated):
    queues = of_type(translated, "AWS::SQS::Queue")
    redriven = [q for q in queues.values() if "RedrivePolicy" in q["Properties"]]
    assert len(queues) == 3 and len(redriven) == 2
    mappings = of_type(translated, "AWS::Lambda::EventSourceMapping")
    assert len(mappings) == 2
    for mapping in mappings.values():
        assert mapping["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]


def test_functions_may_do_no_more_than_they_must(translated):
    for role in of_type(translated, "AWS::IAM::Role").values():
        for policy in role["Properties"]["Policies"]:
            for statement in policy["PolicyDocument"]["Statement"]:
                actions = statement["Action"]
                actions = [actions] if isinstance(actions, str) else actions
                assert not any("*" in action for action in actions)
                assert statement["Resource"] != "*"


def test_the_variables_of_both_functions_are_a_configuration(source):
    functions = of_type(source, "AWS::Serverless::Function")
    assert len(functions) == 2
    defaults = {name: p["Default"] for name, p in source["Parameters"].items()}
    for function in functions.values():
        variables = {}
        for name, value in function["Properties"]["Environment"]["Variables"].items():
            if isinstance(value, dict) and "Ref" in value:
                value = defaults[value["Ref"]]
            elif isinstance(value, dict):
                (value,) = value.values()
                value = value.replace("${AWS::StackName}", "a").replace("${AWS::AccountId}", "1")
            variables[name] = str(value)
        configuration = events.Configuration.from_environment(variables)
        assert configuration.timeout == 300
