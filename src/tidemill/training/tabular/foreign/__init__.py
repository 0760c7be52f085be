"""Models from elsewhere: MLflow folders, pickles in a child process, pre-trained graphs."""
