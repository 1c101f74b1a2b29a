"""The human study: a blind page that needs no server, and what its votes say.

questions.py     what is asked                          design.py        who sees what, in which order
films.py         a story as one film without a trace    write_study.py   the folder and its key
votes.py         votes checked against the key          study_report.py  agreement, means, ranking
metric_agreement.py  the same beside the metrics        assets/          the page: plain HTML, CSS and a script

`animeshooter study make` and `animeshooter study read` are in eval/study_command.py.
"""
