/*
 * In the manner of CoreMark: a linked list that is searched, reversed and sorted; matrices of 16-bit numbers; a
 * state machine over text; CRC-16 over all results. Written anew; its numbers compare with nothing but
 * themselves.
 */

#include "bench.h"

static uint16_t crc16(uint16_t crc, uint16_t value) {
  for (int i = 0; i < 16; i++) {
    unsigned bit = (crc ^ value) & 1;
    value >>= 1;
    crc >>= 1;
    if (bit) crc ^= 0xa001;
  }
  return crc;
}

/* --- the list --- */

enum { NODES = 200 };
typedef struct Node {
  struct Node *next;
  int16_t key, value;
} Node;
static Node nodes[NODES];

static Node *list_make(uint64_t *random) {
  for (int i = 0; i < NODES; i++) {
    nodes[i].next = i + 1 < NODES ? &nodes[i + 1] : NULL;
    nodes[i].key = (int16_t)(bench_random(random) & 0x7fff);
    nodes[i].value = (int16_t)i;
  }
  return nodes;
}

static Node *list_reverse(Node *list) {
  Node *done = NULL;
  while (list != NULL) {
    Node *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static Node *list_find(Node *list, int16_t value) {
  while (list != NULL && list->value != value) list = list->next;
  return list;
}

typedef int (*Compare)(const Node *, const Node *);
static int by_key(const Node *a, const Node *b) { return a->key - b->key; }
static int by_value(const Node *a, const Node *b) { return a->value - b->value; }

/* Merge sort from the bottom up, without recursion. */
static Node *list_sort(Node *list, Compare compare) {
  for (int width = 1;; width *= 2) {
    Node *rest = list, *head = NULL, **tail = &head;
    int merges = 0;
    while (rest != NULL) {
      Node *a = rest, *b = rest;
      int left = 0, right = width;
      merges++;
      while (left < width && b != NULL) {
        b = b->next;
        left++;
      }
      while (left > 0 || (right > 0 && b != NULL)) {
        int from_a = left > 0 && (right == 0 || b == NULL || compare(a, b) <= 0);
        Node **taken = from_a ? &a : &b;
        *tail = *taken;
        tail = &(*taken)->next;
        *taken = (*taken)->next;
        if (from_a) left--;
        else right--;
      }
      rest = b;
    }
    *tail = NULL;
    list = head;
    if (merges <= 1) return list;
  }
}

static uint16_t list_bench(uint64_t *random, uint16_t crc) {
  Node *list = list_make(random);
  for (int i = 0; i < 20; i++) {
    Node *found = list_find(list, (int16_t)(bench_random(random) % (NODES + 20)));
    list = list_reverse(list);
    crc = crc16(crc, found == NULL ? 1 : (uint16_t)found->key);
  }
  list = list_sort(list, by_key);
  crc = crc16(crc, (uint16_t)list->key);
  list = list_sort(list, by_value);
  for (Node *node = list; node != NULL; node = node->next) crc = crc16(crc, (uint16_t)node->key);
  return crc;
}

/* --- matrices --- */

enum { N = 24 };
static int16_t left[N][N], right[N][N];
static int32_t product[N][N];

static uint16_t matrix_bench(int16_t seed, uint16_t crc) {
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      left[i][j] = (int16_t)(seed + i * N + j);
      right[i][j] = (int16_t)(seed - i + 3 * j);
    }
  }
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      int32_t sum = 0;
      for (int k = 0; k < N; k++) {
        int32_t term = left[i][k] * right[k][j];
        sum += ((term >> 2) & 15) * ((term >> 5) & 127);
      }
      product[i][j] = sum;
    }
  }
  int32_t previous = 0, total = 0;
  for (int i = 0; i < N; i++) {
    for (int j = 0; j < N; j++) {
      total += product[i][j] > previous ? 10 : 1;
      previous = product[i][j];
    }
  }
  return crc16(crc, (uint16_t)total);
}

/* --- the state machine: what kind of number is each field? --- */

typedef enum { START, SIGN, INTEGER, POINT, EXPONENT, DIGITS, WRONG, STATES } State;
static const char text[] = "5012,+874,-35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,"
                           "+0.6e-12,T0.3e-1F,-T.T++Tq,1T3.4e4z,34.0e-T^,12x,7,0x10,1e5,--3,+.5";

static int is_digit(char c) { return c >= '0' && c <= '9'; }

static State advance(State state, char c) {
  switch (state) {
  case START:
    if (is_digit(c)) return INTEGER;
    if (c == '+' || c == '-') return SIGN;
    return c == '.' ? POINT : WRONG;
  case SIGN:
    if (is_digit(c)) return INTEGER;
    return c == '.' ? POINT : WRONG;
  case INTEGER:
    if (c == '.') return POINT;
    if (c == 'e') return EXPONENT;
    return is_digit(c) ? INTEGER : WRONG;
  case POINT:
    if (c == 'e') return EXPONENT;
    return is_digit(c) ? POINT : WRONG;
  case EXPONENT: return is_digit(c) || c == '+' || c == '-' ? DIGITS : WRONG;
  case DIGITS: return is_digit(c) ? DIGITS : WRONG;
  default: return WRONG;
  }
}

static uint16_t state_bench(uint16_t crc) {
  unsigned ends[STATES] = {0}, moves[STATES] = {0};
  State state = START;
  for (const char *p = text;; p++) {
    if (*p == ',' || *p == 0) {
      ends[state]++;
      state = START;
      if (*p == 0) break;
      continue;
    }
    state = advance(state, *p);
    moves[state]++;
  }
  for (int i = 0; i < STATES; i++) crc = crc16(crc, (uint16_t)(ends[i] * 256 + moves[i]));
  return crc;
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0, random = 0x123456789abcdefu;
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    uint16_t crc = list_bench(&random, 0);
    crc = matrix_bench((int16_t)(i & 0xff), crc);
    for (int n = 0; n < 8; n++) crc = state_bench(crc);
    sum = bench_mix(sum, crc);
  }
  bench_end(sum);
  return 0;
}
