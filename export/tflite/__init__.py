"""What a .tflite file is: reading, writing, running and checking it."""
