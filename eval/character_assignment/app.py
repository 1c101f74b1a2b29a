"""The demo of this metric as a Space: `python app.py` opens it in the browser."""

from animeshooter_hf.eval.metric_app import build_app

if __name__ == "__main__":
    build_app("character_assignment").launch()
