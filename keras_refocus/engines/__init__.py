"""Where networks run: in this process, or on a server that speaks TensorFlow Serving's API.

Floor 1. The pipeline cannot tell the two apart.

    contract   names of models, signatures, tensors and files; what every engine does
    store      finds models in folders and opens SavedModels
    remote     copies models of an address into a cache, checked by SHA-256
    local      models in this process
    serving    models on TensorFlow Serving, over gRPC
    options    options of commands that run models
    installed  what a folder of models holds, and under which licence it came
    timings    seconds that models took on this machine
"""
