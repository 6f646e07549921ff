"""Networks that draw and judge images: values, decoding, training, evaluation."""
