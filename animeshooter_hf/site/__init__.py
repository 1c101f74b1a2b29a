"""A static site of a dataset folder: browse stories and play their shots, from disk or from a Space.

write_site.py     the site as a whole; site_folder.py its files; site_command.py the verb `view`
story_file.py     the file of a story and its media
story_index.py    cards, facts and names of the list;  search_index.py  what is searched
assets/           the page: plain HTML, CSS and scripts, no build step
site_server.py    to look at it here;  space.py to put it on the Hub
"""
