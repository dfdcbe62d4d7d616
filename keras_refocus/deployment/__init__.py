"""Trained networks in the forms that others run.

Floor 3.

    whole_pipeline  the whole pipeline in one graph, for clients in any language
    formats         ONNX and LiteRT files
"""
