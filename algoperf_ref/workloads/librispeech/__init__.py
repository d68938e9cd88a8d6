"""The speech workloads: read English sentences, Conformer and DeepSpeech."""
