"""Words of a film: storylines, plots, what is seen, and title cards.

Captions name characters and never describe them: no colour, body, clothes or any other attribute, so that only a
reference picture can tell who somebody is. `identity_words` is the list that must not occur.
"""

import re
from random import Random

from animeshooter_hf.toon.attributes import ATTRIBUTES
from animeshooter_hf.toon.plan import FilmPlan, StoryPlan, ToonShot

__all__ = ["card_words", "describe", "identity_words", "narrate", "storyline"]

_GOALS = (
    "a lost kite",
    "the missing map",
    "a hidden treasure",
    "the last jar of honey",
    "a message in a bottle",
    "a runaway balloon",
    "the lost music box",
    "a forgotten birthday present",
    "the strange noise of last night",
    "a wandering robot",
)
_STORYLINES_ALONE = (
    "{a} has lost sleep over {goal} and sets out to find it {places}. "
    "After a few surprises on the way, the search ends with a little celebration.",
    "One morning {a} hears about {goal} and cannot think of anything else. "
    "The search leads through many surprises {places} and teaches {a} to be patient.",
    "{a} spends the day {places}, looking for {goal}. Nothing goes as planned, yet {a} comes home in a good mood.",
)
_STORYLINES_TOGETHER = (
    "{a} asks {others} to help find {goal}. "
    "They look {places}, quarrel a little, make up again, and celebrate together in the end.",
    "{a} and {others} follow the trail of {goal} {places}. "
    "Each of them has another idea, and only together do they get there.",
    "When {a} tells {others} about {goal}, a day full of surprises begins {places}. "
    "They play more than they search, and become better friends.",
)
_PLOTS: dict[str, tuple[str, ...]] = {
    "walk": (
        "{a} sets out {where} to look for {goal}.",
        "{a} follows a trail {where}, step by step.",
        "{a} strolls on {where}, thinking about {goal}.",
    ),
    "run": (
        "{a} dashes off {where} because time is running out.",
        "{a} chases after {goal} {where}.",
        "{a} hurries {where} before anybody else gets there.",
    ),
    "jump": (
        "{a} is so excited about {goal} that standing still is impossible.",
        "{a} tries to look over everything {where} by leaping.",
        "{a} cheers {where} after finding a clue.",
    ),
    "wave": (
        "{a} greets a friend far away {where}.",
        "{a} calls for attention {where}.",
        "{a} says goodbye {where} and promises to return.",
    ),
    "dance": (
        "{a} celebrates {where} with a little dance.",
        "{a} hears a melody {where} and cannot resist it.",
        "{a} forgets all worries about {goal} for a moment.",
    ),
    "talk": (
        "{a} explains the plan to find {goal}.",
        "{a} tells everybody {where} what has happened.",
        "{a} wonders aloud where to search for {goal}.",
    ),
    "sleep": (
        "{a} is worn out by the search and takes a nap {where}.",
        "{a} falls asleep {where} and dreams of {goal}.",
        "{a} rests {where} while time goes by.",
    ),
    "look_around": (
        "{a} searches {where} for {goal}.",
        "{a} thinks that somebody is hiding {where}.",
        "{a} has lost the way {where}.",
    ),
    "splash": (
        "{a} finds a puddle {where} and forgets about {goal}.",
        "{a} cannot pass a puddle {where} without playing.",
        "{a} makes a mess {where} and enjoys it.",
    ),
    "ring_bell": (
        "{a} calls everybody together {where} with a bell.",
        "{a} finds a bell {where} and tries it out.",
        "{a} gives the signal to go on searching for {goal}.",
    ),
    "bounce_ball": (
        "{a} takes a break {where} and plays with a ball.",
        "{a} finds somebody's ball {where}.",
        "{a} thinks about {goal} while playing ball.",
    ),
    "slip": (
        "{a} slips {where} and takes it with humour.",
        "{a} has an accident {where} on the way to {goal}.",
        "{a} is too hasty {where} and tumbles.",
    ),
    "spin": (
        "{a} whirls around {where} for joy.",
        "{a} turns in circles {where} and gets dizzy.",
        "{a} shows off a new trick {where}.",
    ),
}
_SIGHTS: dict[str, tuple[str, ...]] = {
    "walk": (
        "walks {way} with an easy, bouncing step, arms swinging at the sides",
        "strolls {way}, setting one foot before the other in a steady rhythm",
    ),
    "run": (
        "runs {way} at full speed, leaning forward, arms pumping",
        "sprints {way} with big strides and an eager smile",
    ),
    "jump": (
        "crouches, leaps high into the air with raised arms, and lands softly, again and again",
        "jumps up and down on the spot, beaming, arms thrown up at the top",
    ),
    "wave": (
        "raises one arm and waves it from side to side, smiling",
        "stands still and waves cheerfully with one hand held high",
    ),
    "dance": (
        "sways from side to side in time, arms going up and down by turns",
        "dances on the spot, hopping from one foot to the other",
    ),
    "talk": ("speaks with a moving mouth and a gesturing hand", "talks at length, one hand underlining every sentence"),
    "sleep": (
        "dozes with shut eyes, breathing slowly, while letters of sleep float up",
        "sleeps leaning to one side, the chest rising and sinking",
    ),
    "look_around": (
        "turns the head to one side and the other, a hand held above the brow",
        "peers left and right, searching, and stops for a moment in between",
    ),
    "splash": (
        "hops into a puddle so that drops fly in every direction",
        "jumps into the middle of a puddle and sends water flying",
    ),
    "ring_bell": (
        "holds up a small bell and swings it to and fro",
        "shakes a hand bell above the shoulder with a proud smile",
    ),
    "bounce_ball": (
        "lets a ball bounce on the ground and follows it with the gaze",
        "plays with a bouncing ball, patting it down each time it comes up",
    ),
    "slip": (
        "wobbles, loses balance, falls over backwards and sits there dazed",
        "staggers with flailing arms, tumbles to the ground and slowly gets up",
    ),
    "spin": (
        "twirls around on the spot with outstretched arms and laughing face",
        "whirls again and again, arms stretched out, eyes squeezed shut with joy",
    ),
}
_FRAMINGS: dict[str, tuple[str, ...]] = {
    "wide": ("In a wide view {where}", "Seen from far away {where}"),
    "medium": ("At a middle distance {where}", "Seen from a few steps away {where}"),
    "close": ("In a close-up {where}", "Seen from very near {where}"),
    "pan": ("While the camera glides sideways {where}", "As the view pans slowly {where}"),
    "zoom_in": ("While the camera moves closer {where}", "As the view narrows {where}"),
    "zoom_out": ("While the camera draws back {where}", "As the view widens {where}"),
    "tilt": ("While the camera sinks from above {where}", "As the view tilts down {where}"),
    "follow": ("While the camera keeps pace {where}", "Tracked from the side {where}"),
}
_COMPANIONS_IDLE = (
    "{others} {stand} close by and {watch}",
    "{others} {wait} next to {a}",
    "{others} {look} on in silence",
)
_COMPANIONS_ACTIVE = ("{others} {do} the same", "{others} {join} in", "{others} {keep} {a} company")
_PLURALS = {
    "stand": "stands",
    "watch": "watches",
    "wait": "waits",
    "look": "looks",
    "do": "does",
    "join": "joins",
    "keep": "keeps",
}
_DETAILS: dict[str, tuple[str, ...]] = {
    "meadow": (
        "Butterflies flutter over the grass and clouds drift past.",
        "A fence and rolling hills lie in the background.",
    ),
    "forest": ("Leaves float down between the trunks.", "Bushes and mushrooms line the ground behind."),
    "beach": ("Waves roll in behind and gulls glide past.", "Parasols and palm trees stand at the water's edge."),
    "desert": ("Dust drifts over the dunes.", "Cacti and distant mesas stand in the background."),
    "snow": ("Flakes of snow fall without a sound.", "Firs and mountains rise in the background."),
    "farm": ("A barn and haystacks stand behind the fence.", "Clouds drift above the ploughed fields."),
    "moon": ("A planet hangs in the dark sky.", "Domes and craters cover the dusty plain."),
    "reef": ("Bubbles rise and small fish swim past.", "Corals and seaweed grow from the sand behind."),
    "street": ("A row of houses and lamp posts lines the pavement.", "Gulls cross the sky above the roofs."),
    "rooftop": ("The windows of the towers glimmer behind.", "A water tank and chimneys stand on the roof."),
    "living_room": ("A sofa and a lamp stand against the wall.", "Dust dances in the light near the window."),
    "library": ("High bookcases fill the wall behind.", "A globe stands on a desk in the background."),
}


def identity_words() -> frozenset[str]:
    """Return the words that would tell who a character is; no caption contains any of them."""
    words = {word for values in ATTRIBUTES.values() for value in values for word in re.findall(r"[a-z]+", value)}
    named = "hat ears ear tail scarf nose hair colour color coloured colored striped spotted beaked gray tiny huge fat"
    return frozenset(words | set(named.split())) - {
        "none",
        "plain",
        "two",
        "tone",
        "single",
        "long",
        "top",
        "medium",
        "half",
    }


def storyline(plan: FilmPlan, story: StoryPlan) -> str:
    """Return the plot of a story in two sentences."""
    random = Random(f"{plan.seed}/{story.index}/storyline")
    places = _listed([plan.scene[name].place.where for name in story.scene_ids]) or "everywhere"
    if not story.character_ids:
        return f"Nobody is there, and yet {_goal(story)} is waiting {places}."
    lead, *others = story.character_ids
    template = random.choice(_STORYLINES_TOGETHER if others else _STORYLINES_ALONE)
    return template.format(a=lead, others=_listed(others), goal=_goal(story), places=places)


def narrate(plan: FilmPlan, shot: ToonShot) -> str:
    """Return what happens in a shot."""
    story = plan.stories[shot.story_index]
    if shot.scene_id is None:
        return "The title of the story appears." if shot.title == "prologue" else "The story comes to its end."
    random = Random(f"{plan.seed}/{shot.index}/plot")
    lead = shot.placements[0]
    where = plan.scene[shot.scene_id].place.where
    return random.choice(_PLOTS[lead.action]).format(a=lead.character_id, where=where, goal=_goal(story))


def describe(plan: FilmPlan, shot: ToonShot) -> str:
    """Return what is seen in a shot."""
    if shot.scene_id is None:
        kind = "A title card" if shot.title == "prologue" else "A closing card"
        return f"{kind} with a few words in a frame, before a slowly turning sunburst; no character is seen."
    random = Random(f"{plan.seed}/{shot.index}/sight")
    place = plan.scene[shot.scene_id].place
    lead, *others = shot.placements
    way = "from left to right" if lead.facing > 0 else "from right to left"
    framing = random.choice(_FRAMINGS[shot.camera.kind]).format(where=place.where)
    sight = random.choice(_SIGHTS[lead.action]).format(way=way)
    sentences = [f"{framing}, {lead.character_id} {sight}."]
    if others:
        idle = others[0].action == "idle"
        words = _PLURALS if len(others) == 1 else {word: word for word in _PLURALS}
        template = random.choice(_COMPANIONS_IDLE if idle else _COMPANIONS_ACTIVE)
        names = _listed([one.character_id for one in others])
        sentences.append(template.format(a=lead.character_id, others=names, **words) + ".")
    sentences.append(random.choice(_DETAILS[place.kind]))
    return " ".join(sentences)


def card_words(plan: FilmPlan, shot: ToonShot) -> str:
    """Return the words on a title card, lines apart by line breaks."""
    if shot.title != "prologue":
        return "The End"
    story = plan.stories[shot.story_index]
    return f"{_listed(list(story.character_ids)) or 'Nobody'}\nand {_goal(story)}"


def _goal(story: StoryPlan) -> str:
    return _GOALS[story.goal % len(_GOALS)]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else ""
