"""Where films come from.

source.py         the protocol, and the words that name a source;  folder.py files that lie here
video_ids.py      lists of IDs;  download.py, download_answers.py, download_ledger.py the polite downloader
hub.py            repositories on the Hub;  release.py the paper's release;  toon.py films drawn in code
"""
