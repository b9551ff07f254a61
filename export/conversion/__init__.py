"""Keras models and SavedModels to TFLite files."""
