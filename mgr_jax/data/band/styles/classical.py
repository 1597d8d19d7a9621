"""The style of classical."""

from mgr_jax.data.band.styles import notation as n

CLASSICAL = (
    n.Feel(
        "sonata",
        tempo=(66, 152),
        drums=({},),
        bass=("R---", "R-5-", "R-.."),
        layers=(
            n.Layer((0, 0, 6, 24), ("1323132313231323", "1232123212321232", "1323"), low=48),
            n.Layer(n.STRINGS, ("x---",), low=55, velocity=56, chance=0.2),
        ),
        leads=(
            n.Lead((0, 0, 40, 71, 73), n.CANTABILE, "harmonic", low=67, high=88, rest=0.05),
            n.Lead(
                (0, 24, 42, 6), n.CANTABILE + n.FAST_LINES, "harmonic", low=62, high=84, rest=0.05
            ),
        ),
        progressions=(
            "I V7 V7 I",
            "I IV V7 I",
            "I,VIm IIm,V7 I,IV V7,I",
            "Im V7 Im IVm,V7",
            "Im IVm bVII bIII bVI IIdim V7 Im",
        ),
        basses=(0, 42),
        rubato=0.06,
        weight=1.3,
    ),
    n.Feel(
        "quartet",
        tempo=(58, 138),
        drums=({},),
        bass=("R353", "R-w-", "Rwwa", "R---"),
        layers=(
            n.Layer((41, 48, 40), ("xxxx", "x---", ".x.x", "x-x-"), low=53),
            n.Layer((40, 42, 70), ("1232", "3-2-"), low=58, velocity=64, chance=0.8),
        ),
        leads=(
            n.Lead((40, 40, 68, 71), n.CANTABILE, "harmonic", low=67, high=89, rest=0.08),
            n.Lead((40, 60, 73), n.CANTABILE, "harmonic", low=62, high=84, rest=0.1),
        ),
        progressions=(
            "I IIm V7 I",
            "I V VIm IV I,IV V7",
            "I,V VIm,IIIm IV,I IV,V",
            "Im V Im bVII bIII bVII Im,V Im",
            "Im IVm V7 bVI IVm V7 Im Im",
        ),
        basses=(42, 43),
        rubato=0.06,
    ),
    n.Feel(
        "orchestra",
        tempo=(60, 144),
        drums=({}, {}, {"timpani": "x..."}, {"timpani": "x.......x..x..xx"}),
        bass=("R-R-", "RR55", "RRRRRRRR", "R---"),
        layers=(
            n.Layer((48, 49, 44), ("x---", "xxxxxxxx", "xxxx", "X-.x"), "wide", 50),
            n.Layer((60, 61, 57), ("x-..", "xxx-"), low=52, chance=0.6),
            n.Layer((45, 46, 68), ("1.2.3.2.", "..x...x."), low=60, chance=0.5),
        ),
        leads=(
            n.Lead((48, 40, 68, 73), n.CANTABILE, "harmonic", low=67, high=91, rest=0.1),
            n.Lead((60, 56, 71, 52), n.CANTABILE, "harmonic", low=60, high=79, rest=0.2),
        ),
        progressions=(
            "I IV V7 I",
            "I bVI IV V7",
            "I VIm IIm V7",
            "Im bVI IVm V7",
            "Im bIII bVII V",
        ),
        kits=(n.ORCHESTRA,),
        basses=(43, 42, 48),
        rubato=0.05,
    ),
    n.Feel(
        "waltz",
        tempo=(88, 180),
        beats=3,
        drums=({}, {}, {"timpani": "x....."}),
        bass=("R-....", "R-----"),
        layers=(
            n.Layer((48, 0, 45, 24), ("..x.x.", "..x-x-"), low=55),
            n.Layer((60, 70), ("x-----",), low=52, velocity=58, chance=0.4),
        ),
        leads=(
            n.Lead(
                (40, 0, 73, 48), ("x---x-", "x-x-x-", "x-----", "xxxxxx"), "harmonic", 67, 88, 0.08
            ),
            n.Lead((71, 68, 0), ("x---x-", "x-----"), "harmonic", 62, 84, 0.1),
        ),
        progressions=("I I V7 V7 V7 V7 I I", "I VIm IIm V7", "Im Im IVm IVm V7 V7 Im Im"),
        kits=(n.ORCHESTRA,),
        basses=(43, 0, 42),
        rubato=0.05,
        weight=0.5,
    ),
)
