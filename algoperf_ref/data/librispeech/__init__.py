"""Read sentences: LibriSpeech, and synthesised speech in its form for the mini tier."""
