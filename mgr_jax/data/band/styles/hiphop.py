"""The style of hiphop."""

from mgr_jax.data.band.styles import notation as n

LOOPS = (
    "Im7 Im7 IVm7 IVm7",
    "Im9 bVImaj7",
    "Im Im Im bVI,V7",
    "Im7 IVm7",
    "Im bVII bVI bVII",
    "IIm9 V13 Imaj7 Imaj7",
    "Im Im",
)

RAPS = (
    n.Lead((85, 54), n.RAPPED, "spoken", 52, 66, 0.05),
    n.Lead((85, 54), n.RAPPED, "spoken", 55, 69, 0.1),
)

HIPHOP = (
    n.Feel(
        "boom_bap",
        tempo=(82, 104),
        swing=(0.54, 0.64),
        swing_unit=0.5,
        drums=(
            {"kick": "X......x..x.....", "snare": ".X.X", "hat": "xxxxxxxx"},
            {"kick": "X.x....x..X....x", "snare": "....X..o....X...", "hat": "x.x.x.xxx.x.x.x."},
            {"kick": "X..x......X..x..", "snare": "....X.......X..o", "hat": "xoxoxoxoxoxoxoxo"},
        ),
        bass=("R-.....R..5-....", "R..7R...", "R..R..........5a"),
        layers=(
            n.Layer((4, 0, 5), ("x--x--..", "1.3.2.3.1...2...", "x---....x--x----"), "close", 55),
            n.Layer(
                (48, 26, 11, 45),
                ("x---", "..x...x.........|.x......", "123-...."),
                "close",
                60,
                64,
                0.7,
            ),
            n.Layer((61, 66, 73), ("x.......|....",), "close", 60, 70, 0.3),
        ),
        leads=RAPS,
        progressions=LOOPS,
        kits=(n.TR_808, n.ELECTRONIC),
        basses=(n.FINGERED, n.UPRIGHT),
        weight=1.6,
    ),
    n.Feel(
        "electro",
        tempo=(88, 118),
        drums=(
            {"kick": "X..x..x...x.....", "clap": ".X.X", "hat": "xxxxxxxxxxxxxxxx"},
            {
                "kick": "X.....x...X..x..",
                "snare": ".X.X",
                "hat": "x.xxx.xxx.xxx.xx",
                "cow": "x..x..x...x.x...",
            },
        ),
        bass=("R..R..R...R.....", "R.....R...5..7..", "R-.."),
        layers=(
            n.Layer((81, 62, 80), ("x..x..x.........", "1..2..3.2..1..2."), "close", 57),
            n.Layer((50, 48, 89), ("x---",), "close", 55, 58, 0.6),
        ),
        leads=RAPS,
        progressions=LOOPS,
        kits=(n.TR_808, n.ELECTRONIC),
        basses=(n.SYNTH_BASS, 39),
        weight=0.3,
    ),
    n.Feel(
        "half_time",
        tempo=(64, 84),
        drums=(
            {"kick": "X......x..x.....", "clap": ".X.X", "hat": "x.xxx.x.x.x.xxxx"},
            {
                "kick": "X..x.......x..x.",
                "snare": ".X.X",
                "hat": "xxxxxxxxxxx.xxxx",
                "open": "...x....",
            },
        ),
        bass=("R-----.R-.......", "R---....R--5-...", "R-------......RR"),
        layers=(
            n.Layer((0, 46, 11, 24), ("12321232", "1.2.3...1.2.3...", "x-x-"), "close", 60),
            n.Layer((48, 52, 89), ("x---",), "close", 55, 60, 0.7),
        ),
        leads=RAPS,
        progressions=LOOPS,
        kits=(n.TR_808,),
        basses=(n.SYNTH_BASS, n.FINGERED),
    ),
    n.Feel(
        "funk_break",
        tempo=(90, 116),
        drums=(
            {"kick": "X.x.......xx....", "snare": "....X..o.o..X..o", "hat": "xxxxxxxx"},
            {"kick": "Xx.x.x..", "snare": "....X..o.o.oX..o", "hat": "xoxoxoxoxoxoxoxo"},
        ),
        bass=("R.R...7.8...5.7.", "R..R..7R..R.....", "R.....R.3.5....."),
        layers=(
            n.Layer((27, 7, 28), ("x...x..x..x.x...", "..x...x...x..xx."), "close", 58),
            n.Layer(
                (*n.BRASS, 66),
                ("x.......|..........x.x...", "......xx........"),
                "close",
                60,
                76,
                0.6,
            ),
            n.Layer((16, 4), ("x-..",), "close", 55, 62, 0.5),
        ),
        leads=RAPS,
        progressions=("I9 I9", "Im7 IV9", "I7 I7 IV7 I7", "Im7 Im7 Im7 V7"),
        basses=(n.FINGERED, n.SLAPPED),
        weight=0.35,
    ),
)
