"""The style of country."""

from mgr_jax.data.band.styles import notation as n

COUNTRY = (
    n.Feel(
        "boom_chick",
        tempo=(92, 190),
        drums=(
            {"kick": "x.x.", "snare": ".x.x", "hat": "xxxx"},
            {"kick": "x.x.", "stick": ".X.X", "hat": "xoxoxoxo"},
            {"kick": "x.x.", "snare": "ooXoooXo"},
        ),
        bass=("R...5...", "R...5...|R...5.wa", "R...5...|R.w.5.a."),
        layers=(
            n.Layer((24, 25), (".x.x", "..xx..xx", "..x-..xo"), low=55),
            n.Layer((105, 25, 105), ("13231323", "12321232", "1.2.3.2."), low=57, chance=0.9),
            n.Layer((0, 3, 110), ("..x...x.", "x---"), low=58, chance=0.5),
        ),
        leads=(
            n.Lead((110, 110, 25, 53), n.SUNG + n.RIFFS, "pentatonic", rest=0.25, bend=0.15),
            n.Lead((110, 25, 105), n.SUNG, "pentatonic", rest=0.3, bend=0.15),
        ),
        progressions=(
            "I I IV I I I V7 V7 I I IV I V7 V7 I I",
            "I I IV IV V7 V7 I I",
            "I IV I V7 I IV I,V7 I",
            "I V IV I",
            "I I IIm V",
        ),
        kits=(n.STANDARD, n.BRUSHES),
        basses=(n.UPRIGHT, n.FINGERED),
        weight=1.6,
    ),
    n.Feel(
        "train",
        tempo=(84, 126),
        drums=(
            {"kick": "xxxx", "snare": "ooxoooXoooxoooXo"},
            {"kick": "xxxx", "snare": "ooXoooXoooXoooXo", "hat": ".x.x.x.x"},
        ),
        bass=("R...5...", "R.R.5.5.", "R...5.wa"),
        layers=(
            n.Layer((24, 25), ("..x...x...x...x.", "x.xxx.xxx.xxx.xx"), low=55),
            n.Layer((105, 25), ("1323132313231323", "1.231.231.231.23"), low=60, chance=0.9),
        ),
        leads=(
            n.Lead((110, 25, 53), n.RIFFS + n.SUNG, "pentatonic", rest=0.25, bend=0.2),
            n.Lead((105, 110), n.RIFFS, "pentatonic", rest=0.3),
        ),
        progressions=("I I IV IV I I V7 V7", "I IV I V7", "I bVII IV I", "I I V7 I"),
        kits=(n.STANDARD, n.BRUSHES),
        basses=(n.UPRIGHT, n.FINGERED),
        weight=1.2,
    ),
    n.Feel(
        "waltz",
        tempo=(84, 144),
        beats=3,
        drums=(
            {"kick": "x.....", "stick": "..x.x."},
            {"kick": "x.....", "snare": "..x.x.", "hat": "xoxoxo"},
            {},
        ),
        bass=("R-....|5-....", "R-....", "R-..w.|R-..a."),
        layers=(
            n.Layer((24, 25), ("..x.x.", "..xxx."), low=55),
            n.Layer((110, 48, 22), ("x-----",), low=58, velocity=58, chance=0.5),
        ),
        leads=(
            n.Lead((110, 110, 53), ("x---x-", "x-x-x-", "..x-x-", "x-----"), "pentatonic", 60, 79),
            n.Lead((110, 25), ("x---x-", "x-----", "..xxx-"), "pentatonic", 60, 79, 0.3),
        ),
        progressions=("I I IV IV V7 V7 I I", "I IV I I I V7 V7 V7", "I I V7 V7 V7 V7 I I"),
        kits=(n.STANDARD, n.BRUSHES),
        basses=(n.UPRIGHT, n.FINGERED),
        weight=0.7,
    ),
    n.Feel(
        "ballad",
        tempo=(62, 100),
        drums=(
            {"kick": "x..xx...", "stick": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "x...x..x", "snare": ".X.X", "ride": "xxxxxxxx"},
        ),
        bass=("R--5", "R-5a", "R-.RR-.a"),
        layers=(
            n.Layer((24, 25), ("x.x.x.xxx.x.x.xx", "1.3.2.3.1.3.2.3."), low=55),
            n.Layer((0, 48, 4), ("x---", "x-x-"), low=55, velocity=60, chance=0.7),
        ),
        leads=(
            n.Lead((53, 110), n.SUNG, "pentatonic", rest=0.2, bend=0.15),
            n.Lead((27, 0, 110), n.SUNG, "pentatonic", rest=0.35, bend=0.25),
        ),
        progressions=("I IV V I", "I VIm IV V", "I V IIm IV", "I IIIm IV V7"),
        basses=(n.FINGERED, n.UPRIGHT),
        weight=0.2,
    ),
)
