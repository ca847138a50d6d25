/* A JSON document of about 40 KB, parsed into a tree in an arena, and summed up. RFC 8259 without surrogates. */

#include "bench.h"

enum { TEXT_MAX = 65536, NODES_MAX = 16384, DEPTH_MAX = 32 };
typedef enum { NIL, BOOL, NUMBER, STRING, ARRAY, OBJECT } Kind;
typedef struct {
  Kind kind;
  uint32_t length;
  /* Of a container's children: the next one, as an index; 0 ends the list. */
  uint32_t child, next, name, name_length;
  double number;
  uint32_t text;
} Value;

static char text[TEXT_MAX], strings[TEXT_MAX];
static Value values[NODES_MAX];
static uint32_t value_count, string_bytes;
static const char *at;

static void wrong(void) {
  fputs("json: malformed\n", stderr);
  exit(1);
}

static void space(void) {
  while (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r') at++;
}

static void literal(const char *word) {
  size_t length = strlen(word);
  if (strncmp(at, word, length) != 0) wrong();
  at += length;
}

static uint32_t hex4(void) {
  uint32_t code = 0;
  for (int i = 0; i < 4; i++, at++) {
    char c = *at;
    uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)(c - '0') : (uint32_t)((c | 32) - 'a' + 10);
    if (digit > 15) wrong();
    code = code * 16 + digit;
  }
  return code;
}

/* Into the arena; returns where, and the length. */
static uint32_t string(uint32_t *length) {
  uint32_t start = string_bytes;
  if (*at++ != '"') wrong();
  while (*at != '"') {
    char c = *at++;
    if ((unsigned char)c < 32) wrong();
    if (c == '\\') {
      c = *at++;
      switch (c) {
      case 'n': c = '\n'; break;
      case 't': c = '\t'; break;
      case 'r': c = '\r'; break;
      case 'b': c = '\b'; break;
      case 'f': c = '\f'; break;
      case 'u': {
        uint32_t code = hex4();
        if (code >= 0x80) strings[string_bytes++] = (char)(0xc0 | ((code >> 6) & 31));
        c = (char)(code >= 0x80 ? 0x80 | (code & 63) : code);
        break;
      }
      default: break;
      }
    }
    strings[string_bytes++] = c;
  }
  at++;
  *length = string_bytes - start;
  return start;
}

static double number(void) {
  double value = 0, scale = 1;
  int negative = *at == '-', exponent = 0, sign = 1;
  if (negative) at++;
  if (*at < '0' || *at > '9') wrong();
  while (*at >= '0' && *at <= '9') value = value * 10 + (*at++ - '0');
  if (*at == '.') {
    at++;
    while (*at >= '0' && *at <= '9') {
      scale /= 10;
      value += (*at++ - '0') * scale;
    }
  }
  if (*at == 'e' || *at == 'E') {
    at++;
    if (*at == '+' || *at == '-') sign = *at++ == '-' ? -1 : 1;
    while (*at >= '0' && *at <= '9') exponent = exponent * 10 + (*at++ - '0');
  }
  for (; exponent > 0; exponent--) value = sign > 0 ? value * 10 : value / 10;
  return negative ? -value : value;
}

static uint32_t value(int depth);

static void container(Value *self, char close, int depth) {
  uint32_t *tail = &self->child;
  at++;
  space();
  while (*at != close) {
    uint32_t name = 0, name_length = 0;
    if (close == '}') {
      name = string(&name_length);
      space();
      if (*at++ != ':') wrong();
    }
    uint32_t child = value(depth + 1);
    values[child].name = name;
    values[child].name_length = name_length;
    *tail = child;
    tail = &values[child].next;
    self->length++;
    space();
    if (*at == ',') at++;
    else if (*at != close) wrong();
    space();
  }
  at++;
}

static uint32_t value(int depth) {
  uint32_t index = ++value_count;
  Value *self = &values[index];
  if (index + 1 >= NODES_MAX || depth > DEPTH_MAX) wrong();
  memset(self, 0, sizeof *self);
  space();
  switch (*at) {
  case '{': self->kind = OBJECT; container(self, '}', depth); break;
  case '[': self->kind = ARRAY; container(self, ']', depth); break;
  case '"': self->kind = STRING; self->text = string(&self->length); break;
  case 't': self->kind = BOOL; self->number = 1; literal("true"); break;
  case 'f': self->kind = BOOL; literal("false"); break;
  case 'n': literal("null"); break;
  default: self->kind = NUMBER; self->number = number(); break;
  }
  return index;
}

static uint64_t sum_up(uint32_t index, uint64_t sum) {
  const Value *self = &values[index];
  sum = bench_mix(sum, (uint64_t)self->kind * 65536 + self->length);
  for (uint32_t i = 0; i < self->name_length; i++) sum += (uint8_t)strings[self->name + i];
  if (self->kind == NUMBER) sum = bench_mix(sum, bench_bits(self->number));
  if (self->kind == STRING) sum = bench_mix(sum, (uint8_t)strings[self->text]);
  for (uint32_t child = self->child; child != 0; child = values[child].next) sum = sum_up(child, sum);
  return sum;
}

static void make(void) {
  char *p = text;
  uint64_t random = 4101842887655102017u;
  p += sprintf(p, "{\"service\": \"bench\", \"version\": 3, \"machines\": [\n");
  for (int i = 0; i < 180; i++) {
    uint64_t r = bench_random(&random);
    p += sprintf(p, "  {\"id\": \"vm-%04d\", \"up\": %s, \"load\": [%d.%02d, -%d.5e-%d, %d],\n", i,
                 r & 1 ? "true" : "false", (int)(r >> 8 & 63), (int)(r >> 16 & 63), (int)(r >> 24 & 255),
                 (int)(r >> 32 & 7), (int)(r >> 40 & 65535));
    p += sprintf(p, "   \"note\": \"line\\n\\\"quoted\\\" \\u00e9t\\u00e9 %x\", \"owner\": null,\n",
                 (unsigned)(r >> 20));
    p += sprintf(p, "   \"labels\": {\"zone\": \"z%d\", \"tier\": \"%c\", \"empty\": {}, \"none\": []}}%s\n",
                 (int)(r >> 50 & 7), (char)('a' + (r >> 54) % 26), i < 179 ? "," : "");
  }
  sprintf(p, "]}\n");
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  make();
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    value_count = string_bytes = 0;
    at = text;
    sum = sum_up(value(0), sum);
  }
  bench_end(sum);
  return 0;
}
