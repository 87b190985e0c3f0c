// The code of the tests' program (see tiny_test.go), written by hand where the
// compiler would print it: four kernels, a walker and a worker in the
// native ABI of ir/plan. "tiny.bin" is its machine code:
//
//	gcc -c -O1 -ffreestanding -fno-stack-protector -fcf-protection=none \
//	    -fno-asynchronous-unwind-tables -fno-jump-tables -o tiny.o tiny.c
//	objcopy -O binary -j .text tiny.o tiny.bin; nm tiny.o
typedef long i64;
typedef struct { i64 kind; void (*fn)(void **, const i64 *, const i64 *, void *, i64, i64); void **bufs; const i64 *slots; i64 a, b, body, pad; } step;
typedef struct { volatile i64 arrived; i64 p[7]; volatile i64 round; i64 q[7]; } barrier;

static void wait(barrier *b, i64 workers) {
	i64 now = b->round;
	if (__sync_add_and_fetch(&b->arrived, 1) == workers) { b->arrived = 0; __sync_synchronize(); b->round = now + 1; return; }
	for (i64 spins = 1; b->round == now; spins++) {
		__builtin_ia32_pause();
		i64 yield = 24; // sched_yield, where there are fewer processors than workers
		if (spins % 256 == 0) __asm__ volatile("syscall" : "+a"(yield) : : "rcx", "r11", "memory");
	}
}

static void steps(const step *s, i64 count, const i64 *records, i64 len, const i64 *record, void *scratch, i64 worker, i64 workers, barrier *b) {
	for (i64 i = 0; i < count; i += 1 + s[i].body) {
		if (s[i].kind == 0) {
			s[i].fn(s[i].bufs, s[i].slots, record, scratch, worker, workers);
			wait(b, workers);
		} else if (s[i].kind == 1) {
			for (i64 t = 0; t < records[s[i].b]; t++)
				steps(s + i + 1, s[i].body, records, len, records + (records[s[i].a] + t) * len, scratch, worker, workers, b);
		} else if (record[s[i].a]) {
			steps(s + i + 1, s[i].body, records, len, record, scratch, worker, workers, b);
		}
	}
}

void walk(const step *s, i64 count, const i64 *records, i64 len, void *scratch, i64 worker, i64 workers, barrier *b) {
	steps(s, count, records, len, records, scratch, worker, workers, b);
}

typedef struct { volatile i64 n; i64 p[7]; } count;
typedef struct {
	count calls, left, asleep, waiting;
	i64 job; const step *s; i64 count; const i64 *records; i64 record; char *scratch; i64 stride, workers; barrier *b; char *to, *from; i64 share, rest;
	void (*walk)(const step *, i64, const i64 *, i64, void *, i64, i64, barrier *);
} team;

static void futex(volatile i64 *at, i64 op, i64 n) {
	i64 call = 202;
	register i64 r10 __asm__("r10") = 0;
	__asm__ volatile("syscall" : "+a"(call) : "D"(at), "S"(op), "d"(n), "r"(r10) : "rcx", "r11", "memory");
}

void work(team *t, i64 worker) {
	for (i64 seen = 0;; seen++) {
		while (t->calls.n == seen) { // nothing is in a hurry here: it sleeps at once
			__sync_fetch_and_add(&t->asleep.n, 1);
			futex(&t->calls.n, 128, seen);
			__sync_fetch_and_add(&t->asleep.n, -1);
		}
		if (t->job == 2) return;
		if (t->job == 0) t->walk(t->s, t->count, t->records, t->record, t->scratch + worker * t->stride, worker, t->workers, t->b);
		else for (i64 i = 0; i < (worker + 1 == t->workers ? t->rest : t->share); i++) ((volatile char *)t->to)[worker * t->share + i] = t->from[worker * t->share + i];
		if (__sync_fetch_and_add(&t->left.n, -1) == 1 && t->waiting.n) futex(&t->left.n, 129, 1);
	}
}

// embed(tokens, table [2, 5], x; n): x[r] = table[., tokens[r]], two columns; table in panels of 4 rows.
void embed(void **bufs, const i64 *slots, const i64 *record, void *scratch, i64 worker, i64 workers) {
	const int *tokens = bufs[0]; const float *table = bufs[1]; float *x = bufs[2];
	for (i64 r = worker; r < record[slots[0]]; r += workers)
		for (i64 c = 0; c < 2; c++) x[2 * r + c] = table[tokens[r] * 4 + c];
}

// keep(x, keys; pos, n): keys[pos + r] = x[r].
void keep(void **bufs, const i64 *slots, const i64 *record, void *scratch, i64 worker, i64 workers) {
	const float *x = bufs[0]; float *keys = bufs[1];
	for (i64 r = worker; r < record[slots[1]]; r += workers)
		for (i64 c = 0; c < 2; c++) keys[2 * (record[slots[0]] + r) + c] = x[2 * r + c];
}

// total(x, sum, keys, y, acc; row, rows, pos): for the rows of a turn, acc += x
// and y = sum + keys[the row's half]; scratch is used, to see that it is there.
void total(void **bufs, const i64 *slots, const i64 *record, void *scratch, i64 worker, i64 workers) {
	const float *x = bufs[0], *sum = bufs[1], *keys = bufs[2]; float *y = bufs[3], *acc = bufs[4]; float *near = scratch;
	if (worker != workers - 1) return;
	for (i64 r = 0; r < record[slots[1]]; r++) {
		i64 at = record[slots[0]] + r;
		for (i64 c = 0; c < 2; c++) {
			near[c] = x[2 * (at - record[slots[2]]) + c];
			acc[c] = acc[c] + near[c];
			y[2 * (at - record[slots[2]]) + c] = sum[c] + keys[2 * (at / 2) + c];
		}
	}
}

// write(acc, sum, loss; turn): sum += acc; loss[turn] = acc[0]; acc = 0.
void write(void **bufs, const i64 *slots, const i64 *record, void *scratch, i64 worker, i64 workers) {
	float *acc = bufs[0], *sum = bufs[1], *loss = bufs[2];
	if (worker != 0) return;
	loss[record[slots[0]]] = acc[0];
	for (i64 c = 0; c < 2; c++) { sum[c] += acc[c]; acc[c] = 0; }
}
