"""From a Keras model to checked, timed TFLite files."""
