"""Reading a disassembly: instructions, ways through them, loops."""

import pytest

from benchmarks.kernels.assembly import parse
from benchmarks.kernels.loops import dominators, find_loops


def test_an_instruction(code_of):
    code = code_of("@!P0 LDG.E.128.CONSTANT R8, desc[UR6][R8.64+0x10]\nEXIT")
    load, end = code.instructions
    assert (load.guard, load.name, load.base) == ("@!P0", "LDG.E.128.CONSTANT", "LDG")
    assert load.operands == ("R8", "desc[UR6][R8.64+0x10]")
    assert (end.guard, end.name, end.operands) == ("", "EXIT", ())


def test_only_the_kernel_asked_for_and_what_it_reaches(code_of):
    code = code_of("MOV R1, c[0x0][0x28]\nEXIT")
    assert [one.name for one in code.instructions] == ["MOV", "EXIT"]
    assert code.loops == []


def test_a_missing_kernel():
    with pytest.raises(ValueError, match="no kernel nothing"):
        parse("\n.text.kernel:\n", "nothing")


def test_a_way_past_and_an_early_end(code_of):
    code = code_of("""
        @P0 EXIT
        @!P1 BRA `(.L_x_1)
        FADD R0, R0, R0
        .L_x_1:
        EXIT
    """)
    assert [block.successors for block in code.blocks] == [[1], [2, 3], [3], []]
    assert code.blocks[1].target == 3


def test_ways_meet_where_their_barrier_says(code_of):
    code = code_of("""
        BSSY.RECONVERGENT B0, `(.L_x_2)
        @P0 BRA `(.L_x_1)
        FADD R0, R0, R0
        BSYNC.RECONVERGENT B0
        .L_x_1:
        FMUL R0, R0, R0
        BSYNC.RECONVERGENT B0
        .L_x_2:
        EXIT
    """)
    assert [block.successors for block in code.blocks] == [[1, 2], [3], [3], []]


@pytest.mark.parametrize(
    "jump", ["@P0 BRA `(.L_x_0)", "BRA.U UP0, `(.L_x_0)", "BRA.U !UP0, `(.L_x_0)"]
)
def test_a_loop(jump, code_of):
    code = code_of(f"S2R R0, SR_TID.X\n.L_x_0:\nFFMA R4, R4, R4, R4\n{jump}\nEXIT")
    assert [block.successors for block in code.blocks] == [[1], [1, 2], []]
    (loop,) = code.loops
    assert (loop.header, loop.latches, loop.blocks) == (1, {1}, {1})


def test_nested_loops_come_with_the_outer_one_first(code_of):
    code = code_of("""
        .L_x_0:
        IADD3 R0, R0, 0x1, RZ
        .L_x_1:
        FFMA R4, R4, R4, R4
        @P0 BRA `(.L_x_1)
        @P1 BRA `(.L_x_0)
        EXIT
    """)
    assert [(loop.header, loop.blocks) for loop in code.loops] == [(0, {0, 1, 2}), (1, {1})]
    assert code.loops_around(1) == code.loops


def test_a_jump_back_without_condition_is_a_loop(code_of):
    code = code_of(".L_x_0:\n@P0 EXIT\nFADD R0, R0, R0\nBRA `(.L_x_0)")
    assert [loop.blocks for loop in code.loops] == [{0, 1}]


def test_a_subroutine_is_part_of_the_code(code_of):
    code = code_of(
        "CALL.REL.NOINC `($kernel$sub)\nEXIT\n.L_x_0:\n$kernel$sub:\nRET.REL.NODEC R2 `(kernel)"
    )
    assert [one.base for one in code.instructions] == ["CALL", "EXIT", "RET"]
    assert [one.is_call for one in code.instructions] == [True, False, False]


def test_a_call_of_an_own_label_is_a_jump(code_of):
    code = code_of(
        ".L_x_0:\nFADD R0, R0, R0\n@!P0 CALL.REL.NOINC `(.L_x_1)\nBRA `(.L_x_0)\n.L_x_1:\nEXIT"
    )
    assert [block.successors for block in code.blocks] == [[1, 2], [0], []]


def test_a_loop_with_two_entries_is_refused():
    with pytest.raises(ValueError, match="several entries"):
        find_loops([[1, 2], [2], [1]])


def test_an_indirect_jump_is_refused(code_of):
    with pytest.raises(ValueError, match="BRX R2 -0x10 may jump anywhere"):
        code_of("BRX R2 -0x10\nEXIT")


def test_dominators_of_a_diamond():
    assert dominators([[1, 2], [3], [3], []]) == [{0}, {0, 1}, {0, 2}, {0, 3}]
