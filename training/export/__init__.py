"""From a fitted estimator to the files of a bundle: ONNX graphs and the model card."""
