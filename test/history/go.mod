// Not released: it has no tags.
module github.com/handstamp/handstamp/test/history

go 1.26.0

require github.com/anishathalye/porcupine v1.3.1
