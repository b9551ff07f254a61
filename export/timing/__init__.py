"""How long .tflite files and their parts take, here and on Android."""
