"""The benchmark of serving: what it measures beside what, and its report."""

import json

import pytest
from stand_in_models import export_restorer

from keras_refocus import benchmark
from keras_refocus.benchmarks import serving as benchmark_serving
from keras_refocus.local_server import configuration as serving_config
from keras_refocus.local_server.services import LocalServer

ARGUMENTS = "--clients 1 2 --tile 16 --seconds 0.02 --rounds 1 --turns 2 --no-pictures".split()


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    export_restorer(folder / "restorer" / "1")
    return folder


@pytest.fixture(scope="module")
def server(models):
    config = serving_config.model_config_for(models)
    with LocalServer(config, port=0, poll_seconds=0) as server:
        yield f"127.0.0.1:{server.port}"


def test_a_server_is_measured_beside_the_model_in_this_process(models, server, capsys):
    benchmark.main(["serving", "--models", str(models), "--server", server, "--json", *ARGUMENTS])
    figures = json.loads(capsys.readouterr().out)
    combinations = [(row["where"], row["at_once"], row["batch"]) for row in figures["rows"]]
    in_process = [
        ("in process", threads, batch) for threads in (1, 2, 4, 8) for batch in (1, 2, 4, 8)
    ]
    assert combinations == [*in_process, ("server", 1, 1), ("server", 2, 1)]
    for row in figures["rows"]:
        assert 0 < row["p50"] <= row["p95"] <= row["p99"] and row["rate"] > 0
        # The processor time of another machine is not known.
        assert (row["processor"] is None) == (row["where"] == "server")
    (share,) = figures["shares"]
    assert share["clients"] == 2 and share["share"] > 0 and share["processor"] is None


def test_the_share_is_the_worst_of_the_medians_within_rounds():
    def key(where, at_once, batch):
        return "tiles", where, at_once, batch

    def turns(*rates):
        return [{"rate": rate, "processor": 1 / rate} for rate in rates]

    one, two, server = key("in process", 2, 1), key("in process", 2, 4), key("server", 8, 1)
    # The machine is four times as fast in the third round; a mean would be of that round alone.
    compared = {one: turns(10, 10, 40), two: turns(10, 20, 80), server: turns(9, 9, 36)}
    share = benchmark_serving._share(compared, server, [one, two])
    assert share["share"] == pytest.approx(0.45)
    assert (share["best_threads"], share["best_batch"]) == (2, 4)
    assert share["processor"] == pytest.approx(1 / 0.45)


def test_the_report_is_for_people(models, server, capsys):
    benchmark.main(["serving", "--models", str(models), "--server", server, *ARGUMENTS])
    text = capsys.readouterr().out
    assert "tiles of 16x16" in text and "p99 ms" in text
    assert "tiles, server, 2 clients: " in text and "% of the best in process (" in text


@pytest.mark.slow
def test_servers_of_its_own_without_and_with_batching(models, tmp_path, capsys):
    file = tmp_path / "batching.config"
    file.write_text("max_batch_size { value: 2 }")
    benchmark.main(
        ["serving", "--models", str(models), "--batching", str(file), "--json", *ARGUMENTS]
    )
    figures = json.loads(capsys.readouterr().out)
    assert [share["where"] for share in figures["shares"]] == [
        "server, batching off",
        "server, batching on",
    ]
    assert all(share["processor"] > 0 for share in figures["shares"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--turns", "0"], "must be positive"),
        (["--clients", "0"], "at least 1"),
        (["--batching", "nowhere.config"], "nowhere.config"),
    ],
)
def test_mistakes_are_said(models, capsys, arguments, message):
    with pytest.raises(SystemExit) as status:
        benchmark.main(["serving", "--models", str(models), *arguments])
    assert status.value.code == 2
    assert message in capsys.readouterr().err
