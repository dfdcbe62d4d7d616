"""Trained networks in the forms that others run.

Floor 3.

    saved_model     a network as a SavedModel, compared before it takes its place
    whole_pipeline  the whole pipeline in one graph, for clients in any language
    formats         ONNX and LiteRT files
    sagemaker       the archive that SageMaker serves
    sagemaker_inference  what runs for each request there; travels alone
"""
