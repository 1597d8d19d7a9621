"""The style of disco."""

from mgr_jax.data.band.styles import notation as n

DISCO_CHORDS = (
    "Im7 IVm7 Im7 IVm7",
    "VIm7 IIm7 V7 Imaj7",
    "Im bVII bVI V7",
    "Im7 bIIImaj7 IV7 IV7",
    "IIm7 V7 Imaj7 VIm7",
    "Im Im bVI bVII",
    "I VIm IIm V7",
)

DISCO = (
    n.Feel(
        "four_on_the_floor",
        tempo=(104, 134),
        drums=(
            {"kick": "XXXX", "snare": ".X.X", "open": ".x.x.x.x"},
            {"kick": "XXXX", "snare": ".X.X", "hat": "xooxxooxxooxxoox", "open": ".x.x.x.x"},
            {"kick": "XXXX", "clap": ".X.X", "open": ".x.x.x.x", "tamb": "xxxxxxxxxxxxxxxx"},
            {
                "kick": "XXXX",
                "snare": ".X.X",
                "hat": "xoxoxoxoxoxoxoxo",
                "conga_hi": "..x..xx...x..x.x",
            },
        ),
        bass=("R8R8R8R8", "R.8.R.8.", "R..8R.8.R..85.78", "RR8RRR8R", "R.R8.R8."),
        layers=(
            n.Layer(
                (27, 28, 7),
                ("xoxxoxxoxoxxoxxo", "..xx..xx..xx..xx", "x..x..x...x.x..."),
                "close",
                60,
                72,
            ),
            n.Layer((48, 50, 49), ("x---", "x-..xx..", "....xxxx"), "close", 60, 72, 0.85),
            n.Layer(
                (4, 0, 7),
                ("x--x--x---x-x---", "..x...x...x...x.", "x-------x--x----"),
                "close",
                55,
                72,
                0.7,
            ),
            n.Layer(n.BRASS, ("............x.x.|x.......", "..xx....|x..."), "close", 60, 78, 0.5),
        ),
        leads=(
            n.Lead((52, 53, 48), n.SUNG, "modal", rest=0.2),
            n.Lead((56, 48), n.SUNG + n.RIFFS, "modal", rest=0.3),
        ),
        progressions=DISCO_CHORDS,
        basses=(n.FINGERED, n.SLAPPED),
        weight=2.2,
    ),
    n.Feel(
        "philly",
        tempo=(98, 126),
        drums=(
            {"kick": "XXXX", "snare": "....X..o.o..X..o", "hat": "xoxoxoxoxoxoxoxo"},
            {"kick": "XXXX", "snare": ".X.X", "hat": "x.xxx.xxx.xxx.xx", "tamb": ".x.x"},
        ),
        bass=("R..R..5.8..85.w.", "R--R.5.8", "R.R..R3.5..53.wa"),
        layers=(
            n.Layer((27, 4), ("..x...x...x...x.", "x.xo.xo.x.xo.xo."), "close", 58),
            n.Layer((48, 49), ("x---", "x-xx"), "wide", 58, 70),
            n.Layer((46, 11), ("1234321-........", "x---"), "close", 62, 64, 0.5),
            n.Layer((61, 60), ("x.......|..xxx...",), "close", 58, 74, 0.6),
        ),
        leads=(
            n.Lead((52, 53), n.SUNG, "modal", rest=0.2),
            n.Lead((48, 73), n.CANTABILE + n.SUNG, "modal", rest=0.3),
        ),
        progressions=DISCO_CHORDS,
    ),
    n.Feel(
        "electro",
        tempo=(112, 138),
        drums=(
            {"kick": "XXXX", "clap": ".X.X", "hat": ".x.x.x.x"},
            {"kick": "XXXX", "snare": ".X.X", "hat": "xxxxxxxxxxxxxxxx", "open": ".x.x.x.x"},
        ),
        bass=("R8R8R8R8", "RRRRRRRRRRRRRRRR", "R.RRR.RRR.RRR.88"),
        layers=(
            n.Layer((81, 80, 62), ("1.2.3.2.1.2.3.2.", "..x...x...x...x."), "close", 60, 66),
            n.Layer((50, 89, 48), ("x---",), "wide", 55, 64),
            n.Layer((7, 28), ("x.xx.xx.x.xx.xx.",), "close", 58, 70, 0.5),
        ),
        leads=(
            n.Lead((54, 53, 81), n.SUNG, "modal", rest=0.25),
            n.Lead((80, 81, 62), n.RIFFS + n.FAST_LINES, "modal", rest=0.35),
        ),
        progressions=DISCO_CHORDS,
        kits=(n.ELECTRONIC, n.STANDARD, n.TR_808),
        basses=(n.SYNTH_BASS, 39),
        weight=0.2,
    ),
)
