"""Where the values go: a journal first, then TensorBoard, MLflow and the console."""
