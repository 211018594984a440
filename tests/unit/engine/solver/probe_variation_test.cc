#include "engine/solver/probe_variation.h"

#include <cmath>
#include <complex>
#include <cstddef>
#include <random>
#include <set>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

constexpr Shape kFrame{6, 5};
constexpr int kModes = 2;

ComplexStack RandomStack(int images, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  ComplexStack stack(images, kFrame);
  for (Complex64& value : stack.data) value = {normal(rng), normal(rng)};
  return stack;
}

std::vector<ActivePoint> Points(int count, int components, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, 0.1f);
  std::vector<ActivePoint> points(static_cast<std::size_t>(count));
  for (int j = 0; j < count; ++j) {
    ActivePoint& p = points[static_cast<std::size_t>(j)];
    p.frame_id = 3 * j;
    for (int k = 0; k < components; ++k) {
      p.refined.variation[static_cast<std::size_t>(k)] = normal(rng);
    }
  }
  return points;
}

double Inner(const ComplexStack& a, std::size_t first, const ComplexStack& b, std::size_t second,
             std::size_t size) {
  double sum = 0;
  for (std::size_t i = 0; i < size; ++i) {
    sum += std::real(std::conj(std::complex<double>(a.data[first + i])) *
                     std::complex<double>(b.data[second + i]));
  }
  return sum;
}

// Σ_k c_k V_k
std::vector<std::complex<double>> Variation(const ComplexStack& components, std::size_t size,
                                            const ActivePoint& point) {
  std::vector<std::complex<double>> sum(size);
  for (std::size_t i = 0; i < components.data.size(); ++i) {
    sum[i % size] += static_cast<double>(point.refined.variation[i / size]) *
                     std::complex<double>(components.data[i]);
  }
  return sum;
}

double Distance(const std::vector<std::complex<double>>& a,
                const std::vector<std::complex<double>>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::norm(a[i] - b[i]);
  return std::sqrt(sum);
}

TEST(ProbeVariationTest, PrincipalComponentsAreTheSameProbes) {
  for (const int count : {1, 2, 4}) {
    const ComplexStack probe = RandomStack(kModes, 1);
    const std::size_t size = probe.data.size();
    const ComplexStack before = RandomStack(count * kModes, 2);
    const std::vector<ActivePoint> points = Points(50, count, 3);
    ComplexStack components = before;
    std::vector<ActivePoint> principal = points;
    MakePrincipal(probe, {.variation = true}, components, principal);
    for (std::size_t j = 0; j < points.size(); ++j) {
      EXPECT_LT(
          Distance(Variation(components, size, principal[j]), Variation(before, size, points[j])),
          1e-5);
    }
    const double power = Inner(probe, 0, probe, 0, size);
    double last = INFINITY;
    for (std::size_t a = 0; a < static_cast<std::size_t>(count); ++a) {
      double spread = 0;
      for (std::size_t b = 0; b < static_cast<std::size_t>(count); ++b) {
        EXPECT_NEAR(Inner(components, a * size, components, b * size, size), a == b ? power : 0,
                    1e-5 * power);
        double product = 0;
        for (const ActivePoint& p : principal) {
          product += static_cast<double>(p.refined.variation[a]) *
                     static_cast<double>(p.refined.variation[b]);
        }
        if (a == b) spread = product;
        if (a != b) {
          EXPECT_NEAR(product, 0, 1e-6);
        }
      }
      EXPECT_LE(spread, last);
      last = spread;
    }
    // What is principal stays as it is, with its sense.
    const ComplexStack once = components;
    MakePrincipal(probe, {.variation = true}, components, principal);
    for (std::size_t i = 0; i < once.data.size(); ++i) {
      EXPECT_NEAR(std::abs(once.data[i] - components.data[i]), 0, 1e-4);
    }
  }
}

TEST(ProbeVariationTest, WhatLightAndPlaceExplainIsTakenOut) {
  const ComplexStack probe = RandomStack(kModes, 1);
  const std::size_t size = probe.data.size();
  ComplexStack components(2 * kModes, kFrame);
  for (std::size_t i = 0; i < size; ++i) {
    const std::size_t image = i / 30 * 30, row = i % 30 / 5, col = i % 5;
    components.data[i] = 0.5f * probe.data[i];
    components.data[size + i] = probe.data[image + 5 * ((row + 1) % 6) + col] -
                                probe.data[image + 5 * ((row + 5) % 6) + col];
  }
  const ComplexStack given = components;
  std::vector<ActivePoint> points = Points(20, 2, 3);
  const std::vector<ActivePoint> before = points;
  MakePrincipal(probe, {.positions = true, .intensities = true, .variation = true}, components,
                points);
  for (const Complex64 value : components.data) EXPECT_EQ(value, Complex64());
  for (const ActivePoint& p : points) EXPECT_THAT(p.refined.variation, ::testing::Each(0));
  // One of them alone stays.
  components = given;
  points = before;
  MakePrincipal(probe, {.intensities = true, .variation = true}, components, points);
  EXPECT_NEAR(Inner(components, 0, components, 0, size), Inner(probe, 0, probe, 0, size), 1e-3);
  EXPECT_NEAR(Inner(components, 0, probe, 0, size), 0, 1e-4);
  for (std::size_t i = size; i < 2 * size; ++i) EXPECT_EQ(components.data[i], Complex64());
}

TEST(ProbeVariationTest, ComponentsThatAreThereAreNotSeededAgain) {
  ComplexStack components(2 * kModes, kFrame);
  std::vector<ActivePoint> points = Points(200, 0, 1);
  EXPECT_TRUE(SeedVariation(components, kModes, points));
  std::set<std::vector<float>> kinds;
  double sums[2] = {};
  for (const ActivePoint& p : points) {
    kinds.insert({p.refined.variation.begin(), p.refined.variation.end()});
    for (int k = 0; k < 2; ++k) sums[k] += static_cast<double>(p.refined.variation[k]);
    EXPECT_EQ(p.refined.variation[2], 0);
  }
  EXPECT_EQ(kinds.size(), 4U);
  for (const double sum : sums) EXPECT_LT(std::abs(sum), 25);
  // Of the frame's number, not of its place.
  std::vector<ActivePoint> one = {points[7]};
  SeedVariation(components, kModes, one);
  EXPECT_EQ(one[0].refined, points[7].refined);

  components.data[0] = 1;
  for (ActivePoint& p : points) p.refined = {};
  EXPECT_TRUE(SeedVariation(components, kModes, points));
  EXPECT_EQ(points[0].refined.variation[0], 0);
  EXPECT_NE(points[0].refined.variation[1], 0);
  components.data[components.data.size() / 2] = 1;
  EXPECT_FALSE(SeedVariation(components, kModes, points));
}

// From nothing, the exact frames' own probes are taken apart into the components they are made of.
TEST(ProbeVariationTest, AlternatingStepsFindTheComponents) {
  const ComplexStack probe = RandomStack(kModes, 1);
  const std::size_t size = probe.data.size(), pixels = size / kModes;
  const ComplexStack truth = RandomStack(2 * kModes, 2);
  const std::vector<ActivePoint> true_points = Points(60, 2, 3);
  ComplexStack components(2 * kModes, kFrame);
  std::vector<ActivePoint> points = Points(60, 0, 3);
  constexpr StageRefinement kWhich{.variation = true};
  constexpr Region kCanvas{0, 0, {20, 20}};
  for (int iteration = 0; iteration < 30; ++iteration) {
    SeedVariation(components, kModes, points);
    // A quadratic misfit, of an object that is 1.
    Refinement found;
    found.component_sums = ComplexStack(2 * kModes, kFrame);
    found.component_weights.assign(2 * pixels, 0);
    for (std::size_t j = 0; j < points.size(); ++j) {
      auto missing = Variation(truth, size, true_points[j]);
      const auto known = Variation(components, size, points[j]);
      RefinementSums sums;
      for (std::size_t k = 0; k < 2; ++k) {
        const int place = kRefinedBesideProbe + static_cast<int>(k);
        const auto c = static_cast<double>(points[j].refined.variation[k]);
        for (std::size_t i = 0; i < size; ++i) {
          const std::complex<double> off = missing[i] - known[i];
          found.component_sums.data[k * size + i] += Complex64(c * off);
          if (i < pixels) found.component_weights[k * pixels + i] += static_cast<float>(c * c);
          sums.gradient[place] +=
              1e4 * std::real(std::conj(std::complex<double>(components.data[k * size + i])) * off);
        }
        for (std::size_t l = 0; l <= k; ++l) {
          sums.fisher[TrianglePlace(kRefinedBesideProbe + static_cast<int>(l), place)] =
              1e4 * Inner(components, l * size, components, k * size, size);
        }
      }
      found.points.push_back(sums);
    }
    TakeRefinementSteps({}, kWhich, 0.7, found.points, kCanvas, kFrame, points);
    components = SteppedComponents(components, kModes, found, 0.7);
    MakePrincipal(probe, kWhich, components, points);
  }
  double mean_of_squares = 0, off = 0;
  for (std::size_t j = 0; j < points.size(); ++j) {
    // The mean is the mean probe's.
    std::vector<std::complex<double>> wanted = Variation(truth, size, true_points[j]);
    for (const ActivePoint& p : true_points) {
      const auto part = Variation(truth, size, p);
      for (std::size_t i = 0; i < size; ++i) wanted[i] -= part[i] / 60.0;
    }
    off += std::pow(Distance(wanted, Variation(components, size, points[j])), 2);
    mean_of_squares += std::pow(Distance(wanted, std::vector<std::complex<double>>(size)), 2);
  }
  EXPECT_LT(std::sqrt(off / mean_of_squares), 0.05);
}

}  // namespace
}  // namespace ptychoserve
