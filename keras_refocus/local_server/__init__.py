"""A local stand-in for TensorFlow Serving: the same gRPC services over SavedModels.

Floor 1.

    services       its gRPC services
    models         versions loaded, served and replaced
    batching       requests joined into batches
    configuration  its configuration files
"""
