"""What a scikit-learn model answers, from the attributes it was saved with.

Classes by what they predict: scikit-learn 1.9, checked against the installed version by a test.
"""

from sizewise.formats.found import words

REGRESSORS = words(
    "ARDRegression AdaBoostRegressor BaggingRegressor BayesianRidge CCA DecisionTreeRegressor DummyRegressor "
    "ElasticNet ElasticNetCV ExtraTreeRegressor ExtraTreesRegressor GammaRegressor GaussianProcessRegressor "
    "GradientBoostingRegressor HistGradientBoostingRegressor HuberRegressor IsotonicRegression KNeighborsRegressor "
    "KernelRidge Lars LarsCV Lasso LassoCV LassoLars LassoLarsCV LassoLarsIC LinearRegression LinearSVR MLPRegressor "
    "MultiOutputRegressor MultiTaskElasticNet MultiTaskElasticNetCV MultiTaskLasso MultiTaskLassoCV NuSVR "
    "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV PLSCanonical PLSRegression PassiveAggressiveRegressor "
    "PoissonRegressor QuantileRegressor RANSACRegressor RadiusNeighborsRegressor RandomForestRegressor RegressorChain "
    "Ridge RidgeCV SGDRegressor SVR StackingRegressor TheilSenRegressor TransformedTargetRegressor TweedieRegressor "
    "VotingRegressor"
)

LABELERS = words(
    "AffinityPropagation BayesianGaussianMixture Birch BisectingKMeans EllipticEnvelope GaussianMixture "
    "IsolationForest KMeans LocalOutlierFactor MeanShift MiniBatchKMeans OneClassSVM SGDOneClassSVM"
)
"""Clusterers, mixtures and outlier detectors: ``predict`` gives whole numbers."""

PROBABLE_LABELERS = frozenset(("BayesianGaussianMixture", "GaussianMixture"))

WITHOUT_PROBABILITIES = words(
    "LinearSVC OneVsOneClassifier OutputCodeClassifier PassiveAggressiveClassifier Perceptron RidgeClassifier "
    "RidgeClassifierCV"
)
"""Classifiers that never have ``predict_proba``."""

NOT_PREDICTING = words("LabelBinarizer LabelEncoder MultiLabelBinarizer TargetEncoder")
"""What keeps classes and has no ``predict``."""

TEXT_READERS = frozenset(("CountVectorizer", "HashingVectorizer", "TfidfVectorizer"))
"""First steps whose input is one text per row."""

WRAPPERS = {
    "FixedThresholdClassifier": "estimator_",
    "FrozenEstimator": "estimator",
    "GridSearchCV": "best_estimator_",
    "HalvingGridSearchCV": "best_estimator_",
    "HalvingRandomSearchCV": "best_estimator_",
    "RFE": "estimator_",
    "RFECV": "estimator_",
    "RandomizedSearchCV": "best_estimator_",
    "TunedThresholdClassifierCV": "estimator_",
}
"""Estimators that answer as the one inside them does, and the attribute that holds it."""
