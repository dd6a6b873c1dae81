# pragma version ==0.4.3
"""
@title Many views in one call.
"""


@external
@view
def read(target: address, calls: DynArray[Bytes[68], 128]) -> DynArray[bytes32, 128]:
    found: DynArray[bytes32, 128] = []
    for data: Bytes[68] in calls:
        found.append(convert(raw_call(target, data, max_outsize=32, is_static_call=True), bytes32))
    return found
