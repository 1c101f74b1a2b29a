"""Who answers the stages' questions about a film, and everything around a question.

annotator.py         requests of the stages, and the protocol of whoever answers them
model_annotator.py   asks a model        sidecar.py, truth.py, noisy.py   answer from a film's own script
release_annotator.py answers with what a release tells of the film
question.py          question, answer, model; prompts.py the prompts
open_model.py        a model as the settings say, with all that follows around it
  openai_model.py, chat_request.py   OpenAI-compatible endpoints     gemini_model.py, retry.py   Google's SDK
  transformers_model.py              a checkpoint on this machine    constrained.py   is the schema enforced?
  answer_store.py      answers kept by a hash of the question        batch.py         questions that can wait
  limits.py            requests and tokens a minute                  budget.py        a hard budget
  accounting.py        the ledger of calls                           prices.py, estimate.py   money, tokens
"""
