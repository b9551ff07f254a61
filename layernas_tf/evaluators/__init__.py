"""Where rewards come from: proxy training with Keras, or a function of your own."""
