#include "engine/probe/hermitian_eigen.h"

#include <cmath>
#include <complex>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace ptychoserve {
namespace {

using Matrix = std::vector<std::complex<double>>;

// A† A of random rows: Hermitian, no negative eigenvalue, at most `rank` that are not 0.
Matrix RandomGram(int n, int rank, unsigned seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<double> normal;
  Matrix rows(static_cast<std::size_t>(rank * n));
  for (auto& value : rows) value = {normal(rng), normal(rng)};
  Matrix gram(static_cast<std::size_t>(n * n));
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < n; ++j) {
      for (int r = 0; r < rank; ++r)
        gram[i * n + j] += std::conj(rows[r * n + i]) * rows[r * n + j];
    }
  }
  return gram;
}

class HermitianEigenTest : public ::testing::TestWithParam<std::pair<int, int>> {};
INSTANTIATE_TEST_SUITE_P(SizesAndRanks, HermitianEigenTest,
                         ::testing::Values(std::pair(1, 1), std::pair(2, 2), std::pair(3, 3),
                                           std::pair(5, 2), std::pair(16, 16), std::pair(16, 3)));

TEST_P(HermitianEigenTest, PairsSolveTheProblemAndAreOrthonormal) {
  const auto [n, rank] = GetParam();
  const Matrix matrix = RandomGram(n, rank, 7);
  const HermitianEigen eigen = SolveHermitianEigen(n, matrix);
  ASSERT_EQ(eigen.values.size(), static_cast<std::size_t>(n));
  const double tolerance = 1e-12 * eigen.values[0];
  for (int k = 0; k < n; ++k) {
    if (k > 0) {
      EXPECT_LE(eigen.values[k], eigen.values[k - 1]);
    }
    if (k >= rank) {
      EXPECT_NEAR(eigen.values[k], 0, tolerance);
    }
    std::complex<double> largest = 0;
    for (int i = 0; i < n; ++i) {
      std::complex<double> product = 0;
      for (int j = 0; j < n; ++j) product += matrix[i * n + j] * eigen.vectors[k * n + j];
      const std::complex<double> component = eigen.vectors[k * n + i];
      EXPECT_LT(std::abs(product - eigen.values[k] * component), tolerance);
      if (std::abs(component) > std::abs(largest)) largest = component;
    }
    EXPECT_NEAR(largest.imag(), 0, 1e-15);
    EXPECT_GT(largest.real(), 0);
    for (int l = 0; l < n; ++l) {
      std::complex<double> inner = 0;
      for (int i = 0; i < n; ++i) {
        inner += std::conj(eigen.vectors[l * n + i]) * eigen.vectors[k * n + i];
      }
      EXPECT_LT(std::abs(inner - (k == l ? 1.0 : 0.0)), 1e-13);
    }
  }
}

TEST(HermitianEigenTest, DiagonalMatrixIsSortedAndNothingElse) {
  const HermitianEigen eigen = SolveHermitianEigen(3, {2, 0, 0, 0, 0, 0, 0, 0, 5});
  EXPECT_EQ(eigen.values, (std::vector<double>{5, 2, 0}));
  EXPECT_EQ(eigen.vectors, (Matrix{0, 0, 1, 1, 0, 0, 0, 1, 0}));
}

}  // namespace
}  // namespace ptychoserve
