"""A page on which a story is written, generated shot by shot, mended and taken home; needs `animeshooter-hf[web]`.

story_form.py       fields of the form -> a story that can be begun, or one sentence beside each field
background.py       work in a thread, so that its steps can be shown
story_session.py    what one visitor makes: clips, film, project file
project_file.py     a story's state as one zip, and a reader that trusts no zip
page_parts.py       pieces of HTML; whatever a visitor wrote is escaped in them
web_look.py         colours, fonts and style of the page
web_widgets.py      the components and where they stand
web_handlers.py     what the buttons do
offline_gradio.py   gradio, kept from asking its servers
web_app.py          the page itself, on gradio, served
space.py            the same as a Space on the Hub
"""
