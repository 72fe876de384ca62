"""Operator mutation of src/core, see scripts/mutate: where a mutant can be made (points), what looks at
one (detectors), and why some may survive (survivors.txt, read by survivors)."""
