"""Where films come from: folders, lists of IDs, Hub repositories, the release, the toon world."""
