"""The phrases the plain way of writing prompts draws from, and the sentence forms they stand in.

A *fixed* slot is part of a structure: its phrase is what people like or not, and what ideas recombine. A *free* slot
stays open in the structure's skeleton and is filled anew in every prompt.
"""

from __future__ import annotations

from collections.abc import Mapping

_LAST = "{setting}, {light}, {camera}, {mood}"  # how every form ends but the journey's, which begins with its setting
FORMS: Mapping[str, str] = {
    "editorial": "Full-length fashion editorial photograph of {subject} {pose} in {garment}, " + _LAST,
    "street": "Candid street-style photograph: {subject} {pose}, dressed in {garment}, " + _LAST,
    "travel": "Travel-magazine photograph of {subject} {setting}, {pose}, wearing {garment}, {light}, {camera}, {mood}",
    "studio": "Lookbook photograph of {subject} wearing {garment}, {pose}, " + _LAST,
    "portrait": "Half-length portrait of {subject} in {garment}, " + _LAST,
    "motion": "Action fashion photograph: {subject} {pose}, the cloth of {garment} lifting with the movement, " + _LAST,
    "detail": "Close-up on the cut of {garment} worn by {subject}, seams and hands in view, " + _LAST,
    "still_life": "Still life of {garment} without a wearer, folded and laid out with care, " + _LAST,
}

FIXED: Mapping[str, tuple[str, ...]] = {
    "setting": (
        "on the open deck of a ferry crossing a fjord",
        "in the arrivals hall of a modernist airport",
        "along a whitewashed lane above the sea",
        "beside a still hotel pool before breakfast",
        "on a gravel track through a high desert",
        "in a glass-roofed railway station",
        "on the rooftop of a concrete tower block",
        "in front of a seamless warm-grey backdrop",
        "at the edge of a frozen mountain lake",
        "in a narrow market street after rain",
        "in the courtyard of a terracotta riad",
        "among the columns of an empty museum",
        "on a pine-forest path in thin mist",
        "in the aisle of a sunlit sleeper train",
        "on wet sand at low tide",
        "against a curved wall of raw plaster",
    ),
    "light": (
        "low golden-hour sun raking in from the side",
        "soft overcast daylight without hard shadows",
        "one large window as the only light",
        "hard midday sun with crisp graphic shadows",
        "cool blue light just after sunset",
        "backlight that rims the hair and shoulders",
        "dappled shade falling through leaves",
        "neon signs mixing with the last daylight",
        "direct flash in the manner of a snapshot",
        "bounced studio light, gentle and even",
        "early haze that softens everything far away",
        "candle-warm lamps in a dim room",
    ),
    "camera": (
        "85 mm lens, eye level, shallow depth of field",
        "35 mm lens, a step back, the place in full view",
        "50 mm lens, waist height, honest perspective",
        "medium-format camera, fine tonal steps",
        "long lens from across the way, layers compressed",
        "low angle that lengthens the figure",
        "view from above, strong diagonal lines",
        "slow shutter, feet sharp and background streaked",
        "symmetrical framing with generous empty space",
        "off-centre framing, figure on the left third",
        "35 mm colour film, visible grain",
        "macro lens, weave and stitching legible",
    ),
    "mood": (
        "calm and self-possessed",
        "quietly amused",
        "alert, on the way somewhere",
        "unhurried Sunday ease",
        "dry, understated elegance",
        "wind-blown and awake",
        "intimate, as between old friends",
        "sculptural and still",
        "sunny, slightly mischievous",
        "cinematic tension before a departure",
    ),
}

FREE: Mapping[str, tuple[str, ...]] = {
    "subject": (
        "a woman in her fifties with cropped silver hair",
        "a tall woman with a sleek dark bob",
        "a freckled woman with copper curls",
        "a woman with braided hair and a straight gaze",
        "a woman with a grey plait and rolled sleeves",
        "a young woman with a shaved head",
        "a woman in her forties with a boyish crop",
        "a woman in her sixties wearing large sunglasses",
        "a woman with long black hair tied low",
        "an athletic woman with windswept blond hair",
        "a woman in her thirties with close-cut curls",
        "a woman with a wide-brimmed hat in her hand",
        "a woman with a silk scarf over her hair",
        "a woman with greying locs and silver rings",
        "a slight woman with round glasses",
        "a woman with olive skin and a loose ponytail",
        "a dancer with an upright back",
    ),
    "pose": (
        "mid-stride with a hand in one pocket",
        "shading her eyes with one hand",
        "turning back towards the camera",
        "seated on a hard-shell suitcase",
        "fastening the last button of a cuff",
        "standing square with folded arms",
        "looking up at something out of frame",
        "holding a folded map against the wind",
        "pausing with one foot forward",
        "laughing with the head tipped back",
        "drawing a collar up around the neck",
        "crossing the frame from left to right",
        "walking away, glancing over a shoulder",
        "pushing up both sleeves",
    ),
    "item": (
        "a single-breasted travel blazer",
        "a belted trench coat",
        "a pair of tapered travel trousers",
        "a zip-front jumpsuit",
        "a packable hooded parka",
        "a wrap dress with long sleeves",
        "a cropped field jacket",
        "a pleated midi skirt with a fine-knit top",
        "a pair of wide-leg trousers and a tucked shirt",
        "a collarless overshirt",
        "a shirt dress with a drawn waist",
        "a quilted gilet over a roll-neck",
        "a pair of slim cargo trousers",
        "a soft bomber jacket",
        "a sleeveless tunic over narrow trousers",
        "a long cardigan coat",
        "a pair of ankle-length joggers with a pressed crease",
        "a cape-backed rain jacket",
        "a knitted polo and straight trousers",
    ),
    "fabric": (
        "four-way-stretch twill",
        "crease-resistant crepe",
        "matte technical nylon",
        "fine merino jersey",
        "washed silk",
        "paper-light taffeta",
        "double-faced ponte",
        "brushed lyocell",
        "dry-handed linen",
        "water-shedding cotton gabardine",
        "ribbed cashmere",
    ),
    "colour": (
        "bone",
        "deep navy",
        "wet-sand beige",
        "olive",
        "charcoal",
        "burnt sienna",
        "chalk white",
        "dusty rose",
        "ink black",
        "glacier blue",
        "tobacco brown",
        "saffron",
        "bottle green",
    ),
    "palette": (
        "sand, bone and one dark accent",
        "sea greys with a warm skin tone",
        "terracotta against pale blue",
        "tone on tone in off-whites",
        "forest greens and tobacco",
        "faded pastels as on an old postcard",
        "black, white and a single saffron note",
        "cool slate with copper reflections",
        "dusky violet and charcoal",
        "sun-bleached ochre and indigo",
    ),
}

# What a renderer understands best, as the prompt's last sentence.
FINISHES: Mapping[str, tuple[str, ...]] = {
    "imagefx": (
        "Photorealistic, natural skin, true weave of the cloth, no lettering",
        "Looks like an unretouched photograph from a printed magazine",
        "Natural proportions, believable hands, fine detail in the fabric",
        "Realistic colour, gentle contrast, nothing artificial in the frame",
        "Sharp on the garment, soft towards the edges, no logo and no text",
        "The garment is the clear subject; its drape and weight are easy to read",
    ),
    "recraft": (
        "Realistic photo style, clean shapes, controlled palette, room for a headline",
        "Realistic photo style, graphic composition, flat background planes",
        "Realistic photo style with natural light, crisp silhouette, no lettering",
        "Realistic photo style, studio clarity, balanced negative space",
        "Realistic photo style, precise edges, muted tones, uncluttered frame",
    ),
    "": (
        "High detail, natural proportions, no lettering",
        "Realistic texture and colour, uncluttered frame",
        "Clear silhouette, believable fabric, balanced composition",
    ),
}

# Names that people give to open places in their skeletons.
SLOT_NAMES: Mapping[str, str] = {
    "subject": "subject", "model": "subject", "person": "subject", "woman": "subject", "talent": "subject",
    "garment": "garment", "garments": "garment", "product": "garment", "outfit": "garment", "clothing": "garment",
    "look": "garment", "item": "garment",
    "designer": "designer", "brand": "designer", "label": "designer",
    "pose": "pose", "action": "pose", "movement": "pose",
    "setting": "setting", "location": "setting", "place": "setting", "scene": "setting", "background": "setting",
    "environment": "setting",
    "light": "light", "lighting": "light",
    "camera": "camera", "lens": "camera", "framing": "camera", "angle": "camera", "shot": "camera",
    "mood": "mood", "atmosphere": "mood", "feeling": "mood", "vibe": "mood",
    "palette": "palette", "colours": "palette", "colors": "palette", "colour palette": "palette",
    "color palette": "palette",
    "colour": "colour", "color": "colour",
    "fabric": "fabric", "material": "fabric", "textile": "fabric",
    "renderer": "renderer",
}  # fmt: skip


def compose_skeleton(form: str, attributes: Mapping[str, object]) -> str:
    """Put a structure's fixed phrases into its form; free slots stay open in braces."""
    text = FORMS[form]
    for slot in FIXED:
        text = text.replace("{" + slot + "}", str(attributes[slot]))
    return text


def has_form(attributes: Mapping[str, object]) -> bool:
    """Whether a structure was composed from one of our forms and can be composed anew."""
    return attributes.get("form") in FORMS and all(isinstance(attributes.get(slot), str) for slot in FIXED)
