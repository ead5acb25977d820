"""The town of the labelled source domain: few flat colours, as in a simple game. It draws nothing."""

from clouds.data.world.looks import Place

GAME_TOWN = Place(
    name="city street",
    facades=((206, 190, 160), (176, 112, 92), (168, 176, 184), (214, 206, 196)),
    roofs=((96, 88, 88), (120, 76, 66)),
    roads=((92, 92, 96),),
    sidewalks=((176, 174, 170),),
    markings=((244, 244, 244),),
    leaves=((58, 132, 58), (74, 150, 66)),
    fences=((122, 96, 72), (150, 152, 158)),
    cars=((206, 40, 40), (44, 84, 190), (240, 196, 40), (236, 236, 236), (40, 44, 50)),
    lawns=((96, 160, 72),),
)
