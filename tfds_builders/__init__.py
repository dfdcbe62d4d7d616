"""TensorFlow Datasets builders: one folder, one data set (`tfds build tfds_builders/<name>`)."""
