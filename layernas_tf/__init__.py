"""LayerNAS for TensorFlow and Keras: mobile architecture search under a budget."""
