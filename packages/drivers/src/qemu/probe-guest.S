/*
 * The probe guest: a flat 64 KiB ROM whose reset vector jumps here. It walks the road that a kernel
 * takes, because some hosts emulate real mode well and then hang in what follows: protected mode,
 * paging, long mode, three timer interrupts through HLT, 400 kB of memory written and read; then it
 * ends QEMU through isa-debug-exit with PROBE_VALUE. Rebuild the bytes in probe-guest.ts with:
 *   as --64 probe-guest.S -o p.o && ld -Ttext=0 --oformat binary p.o -o p.bin && xxd -p p.bin
 */
.code16
.org 0
start:
    cli
    lgdtl %cs:gdtr
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $8, $(0xf0000+prot)
.code32
prot:
    movw $16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %eax, %eax
    movl $0x1000, %edi
    movl $0x1400, %ecx      /* zero 0x1000..0x6000 */
    cld
    rep stosl
    movl $0x1ff, 0xfee000f0   /* LAPIC on */
    movl $0x700, 0xfee00350   /* LINT0 = ExtINT */
    movl $0x2003, 0x1000
    movl $0x3003, 0x2000
    movl $0x83, 0x3000
    movl $(0xf0000+long), %esi
    movl $0x8000, %edi
    movl $(longend-long), %ecx
    rep movsb
    movl %cr4, %eax
    orl $0x20, %eax
    movl %eax, %cr4
    movl $0x1000, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    ljmpl $24, $0x8000
.code64
long:
    movw $16, %ax
    movw %ax, %ss
    movq $0x7000, %rsp
    /* idt entry 0x20 at 0x5200 */
    movl $(0x8000+isr-long), %eax
    movw %ax, 0x5200
    movw $24, 0x5202
    movw $0x8e00, 0x5204
    movw $0, 0x5206
    lidt idtr-long+0x8000
    /* PIC: vectors 0x20, only irq0 open */
    movb $0x11, %al
    outb %al, $0x20
    movb $0x20, %al
    outb %al, $0x21
    movb $4, %al
    outb %al, $0x21
    movb $1, %al
    outb %al, $0x21
    movb $0xfe, %al
    outb %al, $0x21
    /* PIT channel 0, mode 2, 1193 = 1 ms */
    movb $0x34, %al
    outb %al, $0x43
    movb $0xa9, %al
    outb %al, $0x40
    movb $0x04, %al
    outb %al, $0x40
    xorl %ebx, %ebx
    sti
1: hlt
    cmpl $3, %ebx
    jb 1b
    cli
    movl $100000, %ecx
2: movl %ecx, 0x9000(,%rcx,4)
    cmpl %ecx, 0x9000(,%rcx,4)
    jne 3f
    decl %ecx
    jnz 2b
    movb $0x15, %al
    outb %al, $0xf4
3: hlt
    jmp 3b
isr:
    incl %ebx
    movb $0x20, %al
    outb %al, $0x20
    iretq
idtr: .word 0xfff
    .quad 0x5000
longend:
.align 8
gdt: .quad 0
    .quad 0x00cf9b000000ffff
    .quad 0x00cf93000000ffff
    .quad 0x00af9b000000ffff
gdtr: .word 31
    .long 0xf0000+gdt
