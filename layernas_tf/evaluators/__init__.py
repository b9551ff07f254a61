"""What a reward is: proxy training with Keras, a benchmark table, your own function."""
