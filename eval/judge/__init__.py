"""A multimodal model as judge of stories: what it is asked, by whom it is answered, and how far it may be trusted.

protocols.py   pointwise, pairwise, paper: which questions there are      order.py       who stands where in a prompt
prompts.py     the words, from prompts/*.txt                              grid.py        frames to one picture
story_pictures.py  a story's sheets and references                        question.py    the records that are sent
backends.py    an endpoint or recorded replies                            local_judge.py a model on this machine
retry.py       waiting and asking again                                   judge_log.py   every reply, kept at once
parse.py       text to scores, or the reason why not                      asking.py      repair and new tries
run.py         `judge_stories`                                            verdicts.py    what came of each question
judge_scores.py  means, intervals, spread of rounds, position bias        merge.py       into a results file
attacks.py, exam.py  stories that must lose, and whether they do          human_agreement.py  against human votes
estimate.py    what a run would send                                      anchors.py     examples with fixed scores
"""
