// EACH_ROW(X) is X(0) X(1) ... : names in place of an array, since some drivers keep arrays in memory
#define ROWS_16(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define FOURS_16(X) X(0, 1, 2, 3) X(4, 5, 6, 7) X(8, 9, 10, 11) X(12, 13, 14, 15)
#if ROWS == 8
#define EACH_ROW(X)       X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define EACH_FOUR_ROWS(X) X(0, 1, 2, 3) X(4, 5, 6, 7)
#elif ROWS == 16
#define EACH_ROW(X) ROWS_16(X)
#define EACH_FOUR_ROWS(X) FOURS_16(X)
#elif ROWS == 32
#define EACH_ROW(X)                                                                                                    \
    ROWS_16(X)                                                                                                         \
    X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
#define EACH_FOUR_ROWS(X) FOURS_16(X) X(16, 17, 18, 19) X(20, 21, 22, 23) X(24, 25, 26, 27) X(28, 29, 30, 31)
#endif
