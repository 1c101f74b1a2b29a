"""Sound: what is speech, music or effect, where picture and sound change together, and the words for it."""
