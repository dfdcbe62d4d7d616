"""Where networks run: in this process, or on a server that speaks TensorFlow Serving's API.

Floor 1. The pipeline cannot tell the two apart.

    local      models in this process; names of models, signatures and tensors
    serving    models on TensorFlow Serving, over gRPC
    installed  what a folder of models holds, and under which licence it came
"""
