"""Events, scores and results on their way out: files, lines, documents."""
