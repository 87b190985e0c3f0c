// What the peers in C++ share. A peer prints a line about itself, then reads
// questions, one a line, as
//
//     product type=f32 m=512 k=1024 n=3072
//     chain type=bf16 m=1 k=2048 layers=64
//
// and answers each with "ok MEDIAN MIN MAX RUNS HOW" (seconds) or "no REASON". A
// product is y = x * w with x [m, k] and w [n, k]; a chain is one product after
// another, each with weights [k, k] of its own and the last one's result.
#pragma once
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <sstream>
#include <string>
#include <vector>

struct Question {
    std::string what, type;
    long m = 1, k = 1, n = 1, layers = 1;
};

// Work is a question made ready: weights in the layout the library likes best.
struct Work {
    std::function<void()> run;
    std::function<float(long row, long column)> result;  // of the first product
    std::string how;                                      // of several ways, the fastest
};

inline float widen(uint16_t b) {
    uint32_t u = uint32_t(b) << 16;
    float f;
    memcpy(&f, &u, 4);
    return f;
}

inline uint16_t narrow(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

// draw gives values that both types hold exactly, with the spread that keeps a
// chain's values as large as they were.
inline std::vector<float> draw(size_t count, float spread, unsigned seed) {
    std::vector<float> v(count);
    std::minstd_rand random(seed);
    for (auto& x : v) x = widen(narrow((random() / float(random.max()) * 2 - 1) * spread));
    return v;
}

inline Question parse(const std::string& line) {
    Question q;
    std::istringstream in(line);
    in >> q.what;
    std::map<std::string, long*> numbers{{"m", &q.m}, {"k", &q.k}, {"n", &q.n}, {"layers", &q.layers}};
    for (std::string word; in >> word;) {
        auto eq = word.find('=');
        auto key = word.substr(0, eq), value = word.substr(eq + 1);
        if (key == "type") q.type = value;
        if (numbers.count(key)) *numbers[key] = std::stol(value);
    }
    if (q.what == "chain") q.n = q.k;
    return q;
}

// wrong compares some elements of the first product with sums in double.
inline bool wrong(const Question& q, const Work& w, const std::vector<float>& x, const std::vector<float>& weights) {
    w.run();
    for (long i = 0; i < 8; i++) {
        long row = i * 7919 % q.m, column = i * 104729 % q.n;
        double sum = 0, size = 0;
        for (long j = 0; j < q.k; j++) {
            double term = double(x[row * q.k + j]) * weights[column * q.k + j];
            sum += term, size += std::abs(term);
        }
        if (!(std::abs(sum - w.result(row, column)) <= 1e-2 * size)) return true;
    }
    return false;
}

inline std::string time(const Work& w) {
    using clock = std::chrono::steady_clock;
    std::vector<double> seconds;
    double sum = 0;
    for (int i = 0; seconds.size() < 7 || (sum < 0.5 && seconds.size() < 1000); i++) {
        auto begin = clock::now();
        w.run();
        double took = std::chrono::duration<double>(clock::now() - begin).count();
        if (i > 0) seconds.push_back(took), sum += took;
    }
    std::sort(seconds.begin(), seconds.end());
    char line[200];
    snprintf(line, sizeof line, "ok %.9f %.9f %.9f %zu", seconds[seconds.size() / 2], seconds.front(), seconds.back(), seconds.size());
    return w.how.empty() ? line : std::string(line) + " " + w.how;
}

// answer asks the library to make the work of x [m, k] and the layers' weights
// [n, k], which may throw what it cannot do as a string.
using Make = std::function<Work(const Question&, const std::vector<float>& x, const std::vector<std::vector<float>>& weights)>;

inline Work ready(const std::string& line, const Make& make) {
    Question q = parse(line);
    if (q.what != "product" && q.what != "chain") throw "it makes products only";
    auto x = draw(q.m * q.k, 1, 1);
    std::vector<std::vector<float>> weights;
    for (long i = 0; i < q.layers; i++) weights.push_back(draw(q.n * q.k, std::sqrt(3.0f / q.k), i + 2));
    Work w = make(q, x, weights);
    if (q.layers == 1 && wrong(q, w, x, weights[0])) throw "its result is wrong";
    return w;
}

// serve answers questions until there are no more. The last work stays ready:
// the same question may come again.
inline int serve(const std::string& about, const Make& make) {
    std::cout << about << std::endl;
    std::string last;
    Work work;
    for (std::string line; std::getline(std::cin, line);) {
        try {
            if (line != last) work = Work(), last = "", work = ready(line, make), last = line;
            std::cout << time(work) << std::endl;
        } catch (const char* reason) {
            std::cout << "no " << reason << std::endl;
        } catch (const std::exception& e) {
            std::cout << "no " << e.what() << std::endl;
        }
    }
    return 0;
}
