"""What a terminal shows: progress, summaries, crashes."""
