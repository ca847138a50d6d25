// Runs floating-point instructions on operands from standard input: one record in, one record out.
// Needs no C library, so that a bare cross compiler suffices. The numbers are those of INSTRUCTIONS
// in riscv.ts.

typedef unsigned long u64;

struct request {
  u64 operation; // index in the switch below
  u64 rounding;  // frm
  u64 a, b, c;   // bits; f32 in the low half
};

struct response {
  u64 bits; // as the integer register shows them: 32-bit results are sign-extended
  u64 flags;
};

enum { RECORDS = 4096 };

static struct request requests[RECORDS];
static struct response responses[RECORDS];

static long system_call(long number, long a, long b, long c) {
  register long a0 __asm__("a0") = a;
  register long a1 __asm__("a1") = b;
  register long a2 __asm__("a2") = c;
  register long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}

static void leave(int status) {
  for (;;) system_call(93, status, 0, 0);
}

// Loads and moves do not touch flags; the register names are fixed so that no compiler sees the
// values.
#define RUN(load, instruction, store)                                                    \
  __asm__ volatile("csrw fcsr, %[frm]\n\t" load " ft0, %[a]\n\t" load " ft1, %[b]\n\t" load \
                   " ft2, %[c]\n\t" instruction "\n\t" store "\n\tcsrr %[flags], fflags" \
                   : [bits] "=&r"(bits), [flags] "=&r"(flags)                            \
                   : [a] "r"(q->a), [b] "r"(q->b), [c] "r"(q->c), [frm] "r"(q->rounding << 5) \
                   : "ft0", "ft1", "ft2", "ft3")

#define OP(number, load, instruction, store) \
  case number:                               \
    RUN(load, instruction, store);           \
    break;

#define MOVE_S "fmv.x.w %[bits], ft3"
#define MOVE_D "fmv.x.d %[bits], ft3"

// Operations of one format: 23 numbers from `base`.
#define FORMAT(base, s, load, move)                                     \
  OP(base + 0, load, "fadd." s " ft3, ft0, ft1", move)                  \
  OP(base + 1, load, "fsub." s " ft3, ft0, ft1", move)                  \
  OP(base + 2, load, "fmul." s " ft3, ft0, ft1", move)                  \
  OP(base + 3, load, "fdiv." s " ft3, ft0, ft1", move)                  \
  OP(base + 4, load, "fsqrt." s " ft3, ft0", move)                      \
  OP(base + 5, load, "fmadd." s " ft3, ft0, ft1, ft2", move)            \
  OP(base + 6, load, "fmsub." s " ft3, ft0, ft1, ft2", move)            \
  OP(base + 7, load, "fnmsub." s " ft3, ft0, ft1, ft2", move)           \
  OP(base + 8, load, "fnmadd." s " ft3, ft0, ft1, ft2", move)           \
  OP(base + 9, load, "fmin." s " ft3, ft0, ft1", move)                  \
  OP(base + 10, load, "fmax." s " ft3, ft0, ft1", move)                 \
  OP(base + 11, load, "feq." s " %[bits], ft0, ft1", "")                \
  OP(base + 12, load, "flt." s " %[bits], ft0, ft1", "")                \
  OP(base + 13, load, "fle." s " %[bits], ft0, ft1", "")                \
  OP(base + 14, load, "fclass." s " %[bits], ft0", "")                  \
  OP(base + 15, load, "fcvt.w." s " %[bits], ft0", "")                  \
  OP(base + 16, load, "fcvt.wu." s " %[bits], ft0", "")                 \
  OP(base + 17, load, "fcvt.l." s " %[bits], ft0", "")                  \
  OP(base + 18, load, "fcvt.lu." s " %[bits], ft0", "")                 \
  OP(base + 19, load, "fcvt." s ".w ft3, %[a]", move)                   \
  OP(base + 20, load, "fcvt." s ".wu ft3, %[a]", move)                  \
  OP(base + 21, load, "fcvt." s ".l ft3, %[a]", move)                   \
  OP(base + 22, load, "fcvt." s ".lu ft3, %[a]", move)

static int answer(const struct request *q, struct response *r) {
  u64 bits, flags;
  switch (q->operation) {
    FORMAT(0, "s", "fmv.w.x", MOVE_S)
    OP(23, "fmv.w.x", "fcvt.d.s ft3, ft0", MOVE_D)
    FORMAT(32, "d", "fmv.d.x", MOVE_D)
    OP(55, "fmv.d.x", "fcvt.s.d ft3, ft0", MOVE_S)
    default:
      return 0;
  }
  r->bits = bits;
  r->flags = flags;
  return 1;
}

static long fill(char *into, long size) {
  long filled = 0;
  while (filled < size) {
    long got = system_call(63, 0, (long)(into + filled), size - filled);
    if (got < 0) leave(2);
    if (got == 0) break;
    filled += got;
  }
  return filled;
}

static void drain(const char *from, long size) {
  while (size > 0) {
    long put = system_call(64, 1, (long)from, size);
    if (put <= 0) leave(3);
    from += put;
    size -= put;
  }
}

void _start(void) {
  for (;;) {
    long count = fill((char *)requests, sizeof requests) / (long)sizeof(struct request);
    for (long i = 0; i < count; i++) {
      if (!answer(&requests[i], &responses[i])) leave(4);
    }
    drain((const char *)responses, count * (long)sizeof(struct response));
    if (count < RECORDS) leave(0);
  }
}
