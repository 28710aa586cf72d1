"""What every HTTP service answers with: problems, strict input, lists, conditional and repeated requests, streams."""
